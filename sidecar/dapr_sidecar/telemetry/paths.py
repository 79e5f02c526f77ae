"""Metric labels of HTTP paths and methods: Dapr's cardinality rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_STATIC = frozenset({"/dapr/config", "/dapr/metrics", "/dapr/subscribe", "/healthz"})
_VERBS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"})
_CACHE_LIMIT = 4096


class PathLabels:
    """Turns paths into label values; results are cached, within a bound."""

    def __init__(self, http: Mapping[str, Any]) -> None:
        self.increased = http.get("increasedCardinality") is not False
        self._exclude_verbs = http.get("excludeVerbs") is True
        self._patterns = _patterns(http.get("pathMatching") or [])
        self._cache: dict[tuple[str, bool], str] = {}

    def method(self, method: str) -> str:
        """The label of a method."""
        if self._exclude_verbs:
            return ""
        return method if method in _VERBS else "UNKNOWN"

    def server(self, path: str) -> str:
        """The label of a path of the API."""
        if not self.increased and not self._patterns:
            return ""
        return self._cached(path, False)

    def client(self, path: str) -> str:
        """The label of a path of the app."""
        return self._cached(path, True)

    def _cached(self, path: str, app: bool) -> str:
        key = (path, app)
        found = self._cache.get(key)
        if found is None:
            found = self._label(path, app)
            if len(self._cache) < _CACHE_LIMIT:
                self._cache[key] = found
        return found

    def _label(self, path: str, app: bool) -> str:
        if self._patterns:
            for pattern, segments in self._patterns:
                if _fits(segments, path):
                    return pattern
            return collapsed(path) if self.increased else ""
        if self.increased:
            return collapsed(path)
        return path if app and path in _STATIC else ""


def collapsed(path: str) -> str:
    """A path with its variable parts taken out, as Dapr shows it."""
    segments = path.strip("/").split("/")
    if segments[0] == "actors" and len(segments) > 2:
        head = f"actors/{segments[1]}/{{id}}"
        lead = "/" if path.startswith("/") else ""
        return lead + "/".join([head, *segments[3:]])
    if len(segments) < 3:
        return path
    version, api = segments[0], segments[1]
    if api in ("state", "secrets"):
        return f"/{version}/{api}/{segments[2]}"
    if api == "actors" and len(segments) > 4:
        return f"/{version}/actors/{segments[2]}/{{id}}/{segments[4]}"
    if api == "workflows" and len(segments) > 3:
        return _workflow(version, segments)
    return path


def _workflow(version: str, segments: Sequence[str]) -> str:
    if segments[-1] == "start":
        return "/" + "/".join(segments)
    tail = list(segments[4:])
    if len(tail) > 1 and tail[0] == "raiseEvent":
        tail[1] = "{eventName}"
    return "/" + "/".join([version, "workflows", segments[2], "{instanceId}", *tail])


def _patterns(given: Sequence[str]) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for pattern in given:
        variants = [pattern]
        if not pattern.startswith("/v1.0/invoke/"):
            variants.append(f"/v1.0/invoke/{{app_id}}/method{pattern}")
        found += [(variant, variant.strip("/").split("/")) for variant in variants]
    # Go's mux prefers the more specific pattern: more literal segments first, catch-alls last.
    return sorted(found, key=lambda entry: (_wild(entry[1]), -len(entry[1])))


def _wild(segments: Sequence[str]) -> int:
    return sum(segment.startswith("{") for segment in segments) + 100 * any(
        segment.endswith("...}") or segment == "" for segment in segments
    )


def _fits(pattern: Sequence[str], path: str) -> bool:
    segments = path.strip("/").split("/")
    for index, part in enumerate(pattern):
        if part.endswith("...}") or (part == "" and len(pattern) == 1):
            return True
        if index >= len(segments):
            return False
        if not part.startswith("{") and part != segments[index]:
            return False
    return len(segments) == len(pattern)
