"""Entries of ``metadata`` and ``headers``: a name, and a value or where to find it."""

from __future__ import annotations

from dapr_common.kube.validation.problems import Node, shown

_SOURCES = ("value", "secretKeyRef", "envRef")
_FORBIDDEN = ("APP_API_TOKEN",)
_FORBIDDEN_PREFIX = "DAPR_"


def check_source(entry: Node) -> None:
    """Where the value of an entry comes from; what is there must be usable."""
    given = [name for name in _SOURCES if entry.has(name)]
    if len(given) > 1:
        entry.problems.warning(
            entry.path, f"{' and '.join(given)} are both given, only {given[0]} counts"
        )
    if entry.has("secretKeyRef"):
        entry.node("secretKeyRef").required("name")
    if entry.has("envRef"):
        _check_variable(entry)


def _check_variable(entry: Node) -> None:
    name = entry.text("envRef").upper()
    if not name or " " in name:
        entry.error("envRef", f"{shown(name)} is no name of an environment variable")
    elif name in _FORBIDDEN or name.startswith(_FORBIDDEN_PREFIX):
        text = f"{shown(name)} is a variable that components may not read"
        entry.error("envRef", text, "FieldValueForbidden")
