"""``kind: Resiliency``: every policy and target, and that targets name policies that are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dapr_common.kube.validation.problems import Node, shown
from dapr_common.resiliency.policies import SpecError, read_breaker, read_retry, read_timeout
from dapr_common.resiliency.targets import Names, read_actor, read_app, read_component

_POLICIES: Mapping[str, Callable[[Any, str], Any]] = {
    "timeouts": read_timeout,
    "retries": read_retry,
    "circuitBreakers": read_breaker,
}
_WORDS = {"timeouts": "timeout", "retries": "retry", "circuitBreakers": "circuitBreaker"}
_BUILT_IN = "DaprBuiltIn"

Known = Mapping[str, set[str]]


def check_resiliency(body: Node, elsewhere: Known | None = None) -> None:
    """Report everything that cannot be used.

    ``elsewhere`` are names of policies by section that other resources of the namespace define:
    a sidecar merges all of them.
    """
    spec = body.node("spec")
    policies, targets = spec.node("policies"), spec.node("targets")
    known: dict[str, set[str]] = {}
    for section, read in _POLICIES.items():
        known[section] = set((elsewhere or {}).get(section, ()))
        for name, value, _ in policies.entries(section):
            known[section].add(name)
            _read(policies, read, value, f"policies.{section}.{name}")
    for name, value, _ in targets.entries("apps"):
        path = f"targets.apps.{name}"
        _check_names(targets, _read(targets, read_app, value, path), path, known)
    for name, value, _ in targets.entries("actors"):
        path = f"targets.actors.{name}"
        _check_names(targets, _read(targets, read_actor, value, path), path, known)
    for name, value, _ in targets.entries("components"):
        path = f"targets.components.{name}"
        both = _read(targets, read_component, value, path) or (None, None)
        for names, direction in zip(both, ("outbound", "inbound"), strict=True):
            _check_names(targets, names, f"{path}.{direction}", known)


def policy_names(body: Mapping[str, Any]) -> dict[str, set[str]]:
    """The names of the policies that a resource defines, by section."""
    policies = (body.get("spec") or {}).get("policies") or {}
    return {section: set(policies.get(section) or ()) for section in _POLICIES}


def _read(node: Node, read: Callable[[Any, str], Any], value: Any, path: str) -> Any:
    try:
        return read(value, path)
    except SpecError as error:
        node.problems.error(f"spec.{error.path}", error.reason)
        return None


def _check_names(node: Node, names: Names | None, path: str, known: Known) -> None:
    if names is None:
        return
    for section, name in (
        ("timeouts", names.timeout),
        ("retries", names.retry),
        ("circuitBreakers", names.breaker),
    ):
        if not name or name in known[section] or name.startswith(_BUILT_IN):
            continue
        node.problems.error(
            f"spec.{path}.{_WORDS[section]}",
            f"there is no policy {shown(name)} in spec.policies.{section}"
            f"{node.problems.hints.did_you_mean(name, known[section])}",
            "FieldValueNotFound",
        )
