"""``kind: Component``: its type, and its metadata by that type."""

from __future__ import annotations

from dapr_common.kube.manifests import value_text
from dapr_common.kube.validation.catalogue import Field, catalogue
from dapr_common.kube.validation.problems import Node, shown
from dapr_common.kube.validation.references import check_source
from dapr_common.kube.validation.values import duration_problem, value_problem


def check_component(body: Node) -> None:
    """Report everything that keeps a sidecar from using it."""
    spec = body.node("spec")
    if (timeout := spec.text("initTimeout")) and (
        problem := duration_problem(timeout, positive=True)
    ):
        spec.error("initTimeout", problem)
    fields = _fields(spec)
    entries = spec.nodes("metadata")
    for entry in entries:
        check_source(entry)
    given = _by_name(entries)
    if fields is not None:
        _check_metadata(spec, fields, given)


def check_type(spec: Node, name: str, type_name: str) -> str | None:
    """The type as the catalogue has it; ``None`` when that does not know it, which is reported."""
    known, wanted, hints = catalogue(), type_name.lower(), spec.problems.hints
    kind, dot, rest = wanted.partition(".")
    if not dot or not rest:
        spec.error(name, f"{shown(type_name)}: expected a kind and a name, such as state.redis")
    elif kind not in known.known_kinds:
        spec.error(
            name,
            f"{shown(type_name)}: there is no kind {shown(kind)}"
            f"{hints.did_you_mean(kind, known.known_kinds) or _list(known.known_kinds)}",
            "FieldValueNotSupported",
        )
    elif wanted in known.types:
        return wanted
    elif near := hints.nearest(wanted, (one for one in known.types if one.startswith(f"{kind}."))):
        text = f'unknown type {shown(type_name)}, did you mean "{near}"?'
        spec.error(name, text, "FieldValueNotSupported")
    else:
        spec.problems.warning(
            spec.at(name),
            f"{shown(type_name)} is no type that comes with the sidecar: a pluggable component "
            "has to bring it",
        )
    return None


def _fields(spec: Node) -> tuple[Field, ...] | None:
    """What the type takes; ``None`` when that is not known."""
    if not (type_name := spec.required("type")):
        return None
    if (found := check_type(spec, "type", type_name)) is None:
        return None
    versions = catalogue().types[found]
    version = spec.text("version").strip().lower() or "v1"
    if version == "v0" and version not in versions:
        version = "v1"
    if version not in versions:
        spec.error(
            "version",
            f"{found} has no version {shown(version)}: use {' or '.join(versions)}",
            "FieldValueNotSupported",
        )
        return None
    return catalogue().fields(found, version)


def _by_name(entries: list[Node]) -> dict[str, Node]:
    """Entries by name in lower case; of two the later one counts, as in the sidecar."""
    found: dict[str, Node] = {}
    for entry in entries:
        name = entry.required("name")
        before = found.get(name.lower())
        if name and before is not None:
            if {**before.value, "name": ""} == {**entry.value, "name": ""}:
                entry.problems.warning(entry.at("name"), f"{shown(name)} is there twice")
            else:
                text = f"{shown(name)} is there twice, with different values"
                entry.error("name", text, "FieldValueDuplicate")
        if name:
            found[name.lower()] = entry
    return found


def _check_metadata(spec: Node, fields: tuple[Field, ...], given: dict[str, Node]) -> None:
    by_name = {name.lower(): field for field in fields for name in field.names}
    misspelt = _check_names(spec, fields, given)
    for name, entry in given.items():
        if (field := by_name.get(name)) is not None:
            _check_value(field, entry)
    for field in fields:
        present = any(_is_given(given.get(name.lower())) for name in field.names)
        if field.required and not present and field.names[0] not in misspelt:
            text = f"{field.names[0]} is required by {spec.text('type')}"
            spec.error("metadata", text, "FieldValueRequired")


def _check_names(spec: Node, fields: tuple[Field, ...], given: dict[str, Node]) -> set[str]:
    """Report names that the type does not take. Returns the fields that are probably meant."""
    names = [name for field in fields for name in field.names]
    known = {name.lower() for name in names}
    unused = [
        name
        for field in fields
        for name in field.names
        if not any(other.lower() in given for other in field.names)
    ]
    misspelt: set[str] = set()
    for lower, entry in given.items():
        if lower in known:
            continue
        written, type_name = shown(entry.text("name")), spec.text("type")
        if near := entry.problems.hints.nearest(lower, unused):
            text = f'{written} is unknown to {type_name}, did you mean "{near}"?'
            entry.error("name", text, "FieldValueNotSupported")
            misspelt |= {field.names[0] for field in fields if near in field.names}
        else:
            entry.problems.warning(
                entry.at("name"), f"{written} is unknown to {type_name} and has no effect"
            )
    return misspelt


def _check_value(field: Field, entry: Node) -> None:
    if not entry.has("value"):
        return
    text = value_text(entry.value["value"])
    if problem := value_problem(field, text):
        value = "the value" if field.secret else shown(text)
        entry.error("value", f"{field.names[0]} is {value}: {problem}")
    elif field.secret and text:
        entry.problems.warning(
            entry.at("value"), f"{field.names[0]} is a secret: give it by secretKeyRef"
        )


def _is_given(entry: Node | None) -> bool:
    if entry is None:
        return False
    if entry.has("secretKeyRef") or entry.has("envRef"):
        return True
    return entry.has("value") and value_text(entry.value["value"]) != ""


def _list(words: frozenset[str]) -> str:
    return f": use one of {', '.join(sorted(words))}"
