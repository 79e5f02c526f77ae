"""Metric labels of HTTP paths and methods: Dapr's cardinality rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dapr_common.observe.metrics import is_short
from dapr_sidecar.telemetry.patterns import Patterns

_STATIC = frozenset({"/dapr/config", "/dapr/metrics", "/dapr/subscribe", "/healthz"})
_VERBS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"})
_CACHE_LIMIT = 4096
_INVOKE = "/v1.0/invoke/"
_ACTORS, _APP_ACTORS = b"/v1.0/actors/", "/actors/"
_STORES = (b"/v1.0/state/", b"/v1.0/secrets/")


class PathLabels:
    """Turns paths into label values; ``http`` is Configuration ``metrics.http``.

    Results are cached, within a bound. Raises ``MetricsError`` for a pattern that is none.
    """

    def __init__(self, http: Mapping[str, Any]) -> None:
        self.increased = http.get("increasedCardinality") is not False
        self._exclude_verbs = http.get("excludeVerbs") is True
        given = [str(pattern) for pattern in http.get("pathMatching") or []]
        self._patterns = Patterns(_with_invoke(given)) if given else None
        self._cache: dict[tuple[str, bool], str] = {}

    def method(self, method: str) -> str:
        """The label of a method."""
        if self._exclude_verbs:
            return ""
        return method if method in _VERBS else "UNKNOWN"

    def key(self, path: bytes) -> bytes:
        """A shorter path with the same label on the API, so that fewer of them are remembered."""
        if self._patterns is not None:
            return path
        if not self.increased:
            return b""
        for prefix in _STORES:
            if path.startswith(prefix):
                end = path.find(b"/", len(prefix))
                return path if end < 0 else path[:end]
        if path.startswith(_ACTORS):
            return _without_id(path)
        return path

    def client_key(self, path: str) -> str:
        """The same for the app's paths."""
        if self._patterns is None and path.startswith(_APP_ACTORS):
            segments = path.split("/", 4)
            if len(segments) > 3:
                segments[3] = "{id}"
                return "/".join(segments)
        return path

    def server(self, path: str) -> str:
        """The label of a path of the API."""
        if not self.increased and self._patterns is None:
            return ""
        return self._cached(path, False)

    def client(self, path: str) -> str:
        """The label of a path of the app."""
        return self._cached(path, True)

    def _cached(self, path: str, app: bool) -> str:
        key = (path, app)
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            found = self._label(path, app)
            if is_short((path,)):
                self._cache[key] = found
        return found

    def _label(self, path: str, app: bool) -> str:
        if self._patterns is not None:
            found = self._patterns.find(path)
            if found is not None:
                return found
            return collapsed(path) if self.increased else ""
        if self.increased:
            return collapsed(path)
        return path if app and path in _STATIC else ""


def _without_id(path: bytes) -> bytes:
    """An actor's path with every id the same, and nothing after what is done with it."""
    segments = path.split(b"/", 6)
    if len(segments) < 6:
        return path
    return b"/".join((*segments[:4], b"{id}", segments[5]))


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


def _with_invoke(given: Sequence[str]) -> list[str]:
    found: list[str] = []
    for pattern in given:
        found.append(pattern)
        if not pattern.startswith(_INVOKE):
            found.append(f"{_INVOKE}{{app_id}}/method{pattern}")
    return found
