"""A sidecar's metadata as pages and API use it: in the shape they expect, without secrets. No I/O.

Any local program may be named ``daprd`` and answer what it likes: what has another shape than the
metadata API gives is left out, so that one such answer spoils no page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dapr_dashboard import masking
from dapr_dashboard.shapes import mapping, objects, texts

_TEXTS = ("id", "runtimeVersion")
_CONNECTION = ("port", "protocol", "channelAddress", "maxConcurrency")


def shown(body: Mapping[str, Any]) -> dict[str, Any]:
    """What may be shown of an answer; what is missing or misshapen is not there."""
    found: dict[str, Any] = {name: str(body[name]) for name in _TEXTS if body.get(name)}
    readers: dict[str, Callable[[Any], Any]] = {
        "enabledFeatures": _texts,
        "actors": _actors,
        "actorRuntime": _actor_runtime,
        "components": _components,
        "componentHealth": _named,
        "subscriptions": _subscriptions,
        "resiliencies": _objects,
        "extended": _extended,
        "appConnectionProperties": _connection,
    }
    for name, read in readers.items():
        if (value := read(body.get(name))) not in ([], {}):
            found[name] = value
    return found


def _texts(value: Any) -> list[str]:
    return [masking.text(each) for each in texts(value)]


def _objects(value: Any) -> list[dict[str, Any]]:
    return [masking.tree(each) for each in objects(value)]


def _actors(value: Any) -> list[dict[str, Any]]:
    return [
        {"type": str(each.get("type") or ""), "count": _count(each.get("count"))}
        for each in _objects(value)
    ]


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < 1 << 53 else 0


def _actor_runtime(value: Any) -> dict[str, Any]:
    given = mapping(value)
    if not given:
        return {}
    return {
        "runtimeStatus": masking.text(str(given.get("runtimeStatus") or "")),
        "placement": masking.text(str(given.get("placement") or "")),
        "hostReady": bool(given.get("hostReady")),
        "activeActors": _actors(given.get("activeActors")),
    }


def _named(value: Any) -> list[dict[str, Any]]:
    return [{**each, "name": str(each["name"])} for each in _objects(value) if each.get("name")]


def _components(value: Any) -> list[dict[str, Any]]:
    return [{**each, "capabilities": _texts(each.get("capabilities"))} for each in _named(value)]


def _subscriptions(value: Any) -> list[dict[str, Any]]:
    """In both forms of ``rules`` that the API has had: a list, and an object around it."""
    found = []
    for each in _objects(value):
        rules = each.get("rules")
        listed = rules.get("rules") if isinstance(rules, dict) else rules
        found.append({**each, "rules": _objects(listed)})
    return found


def _extended(value: Any) -> dict[str, str]:
    return {
        str(name): masking.HIDDEN
        if masking.is_secret_name(str(name))
        else masking.command(str(each).split(" "))
        for name, each in mapping(value).items()
    }


def _connection(value: Any) -> dict[str, Any]:
    given = mapping(value)
    return {name: given[name] for name in _CONNECTION if isinstance(given.get(name), str | int)}
