"""The HTTP API's route table: a walk over the path's segments, no regular expressions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from dapr_common.http.messages import Response
from dapr_common.http.url import PERCENT, PLUS, as_utf8, query_unescape

RouteHandler = Callable[..., Awaitable[Response]]
"""``await handler(request, *params)``: path parameters, decoded, in the pattern's order."""


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table.

    ``pattern`` is ``/v1.0/state/{store}/{key}``; a last ``{name...}`` takes the rest of the path.
    ``group`` is the allow-list key such as ``v1/state``; ``name`` the endpoint's name in API logs
    (``GetState``).
    """

    methods: tuple[str, ...]
    pattern: str
    group: str
    name: str
    handler: RouteHandler
    always_allowed: bool = False
    health: bool = False

    @property
    def version_and_path(self) -> str:
        """``v1.0/state/{store}/{key}``, which legacy allow-list rules are prefixes of."""
        return self.pattern.lstrip("/")


class Match:
    """A route and its raw (still encoded) parameters."""

    __slots__ = ("params", "route")

    def __init__(self, route: Route, params: list[bytes]) -> None:
        self.route = route
        self.params = params


class _Node:
    __slots__ = ("children", "leaf", "param", "rest")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node] = {}
        self.param: _Node | None = None
        self.leaf: dict[str, Route] = {}
        self.rest: dict[str, Route] = {}


class Router:
    """Finds routes; literal segments win over parameters, shorter rests lose."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._add(route)
        # Nearly every pattern begins with a version and a block: those two steps are one look-up.
        self._blocks = {
            (version, block): below
            for version, node in self._root.children.items()
            for block, below in node.children.items()
        }

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.pattern.strip("/").split("/"):
            if segment.startswith("{") and segment.endswith("...}"):
                for method in route.methods:
                    node.rest[method] = route
                return
            if segment.startswith("{"):
                node.param = node.param or _Node()
                node = node.param
            else:
                node = node.children.setdefault(segment.encode(), _Node())
        for method in route.methods:
            node.leaf[method] = route

    def find(self, method: str, path: bytes) -> Match | None:
        """The route of a cleaned path, or ``None``."""
        segments = path[1:].split(b"/")
        params: list[bytes] = []
        route = None
        below = self._blocks.get((segments[0], segments[1])) if len(segments) > 2 else None
        if below is not None:
            route = _walk(below, segments, 2, method, params)
        if route is None:
            route = _walk(self._root, segments, 0, method, params)
        return None if route is None else Match(route, params)


def _walk(
    node: _Node, segments: list[bytes], index: int, method: str, params: list[bytes]
) -> Route | None:
    if index == len(segments):
        return node.leaf.get(method)
    segment = segments[index]
    child = node.children.get(segment)
    if child is not None and (found := _walk(child, segments, index + 1, method, params)):
        return found
    if node.param is not None and segment:
        params.append(segment)
        if found := _walk(node.param, segments, index + 1, method, params):
            return found
        params.pop()
    if (route := node.rest.get(method)) is not None:
        params.append(b"/".join(segments[index:]))
        return route
    return None


def decode_params(params: list[bytes]) -> list[str]:
    """Percent-decode parameters (``+`` is a space). Raises ``ValueError``."""
    return [
        as_utf8(query_unescape(param))
        if PERCENT in param or PLUS in param
        else param.decode("utf-8", "replace")
        for param in params
    ]
