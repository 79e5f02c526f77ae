"""``middleware.http.routeralias``: short paths for long ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote_plus

import yaml

from dapr_common.http.messages import Handler, Request, Response
from dapr_common.http.url import clean_path
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.middleware.base import HttpMiddleware

_PARAMETER = re.compile(r"\{([^{}:]+)(?::([^{}]+))?\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterAliasSettings:
    """Settings of the middleware."""

    routes: str = setting("routes", default="", help="JSON or YAML object: alias to path")


class RouterAliasMiddleware(HttpMiddleware):
    """Aliases may have ``{parameters}``; what they match is added to the query."""

    settings = RouterAliasSettings

    def __init__(self, settings: RouterAliasSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._text = settings.routes
        self._exact: dict[bytes, bytes] = {}
        self._patterns: list[tuple[re.Pattern[str], bytes]] = []

    async def open(self) -> None:
        """Read the routes."""
        try:
            routes = yaml.load(self._text, Loader=yaml.CSafeLoader) if self._text else {}
        except yaml.YAMLError as error:
            raise ValueError(
                f"invalid 'routes': expected a JSON or YAML object: {error}"
            ) from error
        if not isinstance(routes, dict):
            raise ValueError("invalid 'routes': expected a JSON or YAML object of paths")
        for alias, path in routes.items():
            self._add(str(alias), str(path).encode())

    def _add(self, alias: str, path: bytes) -> None:
        if _PARAMETER.search(alias) is None:
            self._exact[alias.encode()] = path
            return
        pattern, end = "", 0
        for found in _PARAMETER.finditer(alias):
            if not found[1].isidentifier():
                raise ValueError(f"invalid 'routes': '{alias}': bad parameter '{found[1]}'")
            pattern += re.escape(alias[end : found.start()])
            pattern += f"(?P<{found[1]}>{found[2] or '[^/]+'})"
            end = found.end()
        self._patterns.append((re.compile(pattern + re.escape(alias[end:])), path))

    def wrap(self, following: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            self._rewrite(request)
            return await following(request)

        return handle

    def _rewrite(self, request: Request) -> None:
        path = clean_path(request.path)
        exact = self._exact.get(path)
        if exact is not None:
            _go_to(request, exact, b"")
            return
        for pattern, target in self._patterns:
            found = pattern.fullmatch(path.decode("latin-1"))
            if found is not None:
                pairs = [f"{quote_plus(k)}={v}" for k, v in found.groupdict().items()]
                _go_to(request, target, "&".join(pairs).encode("latin-1"))
                return


def _go_to(request: Request, target: bytes, added: bytes) -> None:
    path, _, query = target.partition(b"?")
    request.path = path
    request.query = b"&".join([part for part in (request.query, query, added) if part])
