"""The API allow and deny lists of Configuration ``spec.api``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class AllowList:
    """Decides once, at build time, which endpoints exist for one protocol."""

    def __init__(self, spec: Mapping[str, Any], protocol: str) -> None:
        api = spec.get("api") or {}
        self._allowed = _keys(api.get("allowed") or [], protocol)
        self._denied = _keys(api.get("denied") or [], protocol)

    def permits(self, group: str, path: str = "") -> bool:
        """Whether an endpoint is served; deny wins, an empty allow list allows all."""
        if any(_matches(key, group, path) for key in self._denied):
            return False
        return not self._allowed or any(_matches(key, group, path) for key in self._allowed)


def _keys(rules: Sequence[Mapping[str, Any]], protocol: str) -> list[str]:
    return [
        f"{rule.get('version', '')}/{rule.get('name', '')}"
        for rule in rules
        if str(rule.get("protocol", "")).lower() == protocol
    ]


def _matches(key: str, group: str, path: str) -> bool:
    return key == group or (path != "" and path.startswith(key))
