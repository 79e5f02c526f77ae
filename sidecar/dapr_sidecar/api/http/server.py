"""The HTTP API's pipeline: trace, count, CORS, token, middleware, log, route."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from dapr_common.errors import DaprError
from dapr_common.http.messages import Handler, Request, Response
from dapr_common.http.url import clean_path
from dapr_common.observe.logs import get_logger
from dapr_sidecar.api.allow_list import AllowList
from dapr_sidecar.api.http.cors import Cors
from dapr_sidecar.api.http.errors import page_not_found, render, render_unknown
from dapr_sidecar.api.http.responses import text_response
from dapr_sidecar.api.http.routing import Route, Router, decode_params
from dapr_sidecar.blocks.invocation.targets import http_target
from dapr_sidecar.telemetry.counted_body import CountedBody
from dapr_sidecar.telemetry.http_server import HttpServerTelemetry

_LOG = get_logger("dapr.runtime.http")
_API_LOG = get_logger("dapr.runtime.http-info")
_TOKEN = b"dapr-api-token"
_OPEN_PATHS = frozenset({b"v1.0/healthz", b"v1.0/healthz/outbound"})


class Fallback(Protocol):
    """What serves every path that is no API route: service invocation."""

    async def handle(self, request: Request) -> Response: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpApiSettings:
    """What the pipeline needs to know."""

    api_token: str = ""
    allowed_origins: Sequence[str] = ()
    log_calls: bool = False
    log_omit_health: bool = False
    log_obfuscate: bool = False


class HttpApi:
    """The handler of the API's HTTP listeners."""

    def __init__(
        self,
        routes: Iterable[Route],
        invocation: Fallback,
        allow_list: AllowList,
        telemetry: HttpServerTelemetry,
        settings: HttpApiSettings,
    ) -> None:
        self._router = _router(routes, allow_list)
        self._invocation = (
            invocation
            if allow_list.permits("v1/invoke", "v1.0/invoke/{id}/method/{method}")
            else None
        )
        self._telemetry = telemetry
        self._settings = settings
        self._token = settings.api_token.encode()
        self._pipeline: Handler = self._routed
        self._entrance: Handler = self._routed
        self.set_middlewares(())

    def set_middlewares(self, wrappers: Sequence[MiddlewareWrapper]) -> None:
        """Build the pipeline anew; requests under way keep the old one."""
        handler: Handler = self._logged if self._settings.log_calls else self._routed
        for wrapper in reversed(wrappers):
            handler = wrapper(handler)
        self._pipeline = handler
        if self._token:
            handler = self._authenticated
        if self._settings.allowed_origins:
            handler = Cors(self._settings.allowed_origins).wrap(handler)
        self._entrance = handler

    async def handle(self, request: Request) -> Response:
        """Serve one request."""
        telemetry = self._telemetry
        started = perf_counter()
        if telemetry.tracing:
            baggage = request.header(b"baggage")
            if baggage and (wrong := telemetry.bad_baggage(baggage)) is not None:
                return text_response(wrong, 400)
            span = telemetry.start_span(request)
            response = await self._entrance(request)
            if span is not None:
                telemetry.end_span(span, request, response, baggage)
        else:
            response = await self._entrance(request)
        if telemetry.metering:
            telemetry.count(request, response, started)
        return response

    async def _authenticated(self, request: Request) -> Response:
        if request.method == "GET" and request.path.strip(b"/") in _OPEN_PATHS:
            return await self._pipeline(request)
        given = request.header(_TOKEN) or b""
        if not hmac.compare_digest(given, self._token):
            return text_response("invalid api token", 401)
        request.set_headers([pair for pair in request.headers if pair[0] != _TOKEN])
        return await self._pipeline(request)

    async def _routed(self, request: Request) -> Response:
        match = self._router.find(request.method, clean_path(request.path))
        try:
            if match is None:
                if self._invocation is None:
                    return page_not_found()
                return await self._invocation.handle(request)
            try:
                params = decode_params(match.params)
            except ValueError as error:
                return text_response(str(error), 400)
            return await match.route.handler(request, *params)
        except DaprError as error:
            self._telemetry.count_error(error)
            return render(error)
        except Exception as error:  # noqa: BLE001 - a defect is told to the caller and logged
            _LOG.exception("%s %s failed", request.method, request.path.decode("latin-1"))
            return render_unknown(error)

    async def _logged(self, request: Request) -> Response:
        started = perf_counter()
        name = self._log_name(request)  # before the handler: it may take headers away
        response = await self._routed(request)
        if not name:
            return response
        fields: dict[str, object] = {"method": name, "code": response.status}
        if agent := request.header(b"user-agent"):
            fields["useragent"] = agent.decode("latin-1")

        def log(size: int) -> None:
            fields["duration"] = round((perf_counter() - started) * 1000)
            fields["size"] = size
            _API_LOG.info("HTTP API Called", extra={"fields": fields})

        if isinstance(response.body, bytes):
            log(len(response.body))
        else:
            response.body = CountedBody(response.body, log)
        return response

    def _log_name(self, request: Request) -> str:
        """What the log calls a request; nothing where it is left out."""
        settings = self._settings
        match = self._router.find(request.method, clean_path(request.path))
        if match is not None and match.route.health and settings.log_omit_health:
            return ""
        if not settings.log_obfuscate:
            return f"{request.method} {request.path.decode('latin-1')}"
        if match is not None:
            return match.route.name
        try:
            target = http_target(request)
        except ValueError:
            target = None
        return "InvokeService" if target is None else f"InvokeService/{target.app_id}"


class MiddlewareWrapper(Protocol):
    """What a middleware component gives: a handler around a handler."""

    def __call__(self, following: Handler, /) -> Handler: ...


class PublicApi:
    """The public port: health and metadata only, no token, no pipeline."""

    def __init__(self, routes: Iterable[Route], allow_list: AllowList) -> None:
        self._router = _router(routes, allow_list)

    async def handle(self, request: Request) -> Response:
        """Serve one request."""
        match = self._router.find(request.method, clean_path(request.path))
        if match is None:
            return page_not_found()
        try:
            return await match.route.handler(request, *decode_params(match.params))
        except DaprError as error:
            return render(error)
        except ValueError as error:
            return text_response(str(error), 400)


def _router(routes: Iterable[Route], allow_list: AllowList) -> Router:
    """Finds what the Configuration's lists leave."""
    return Router(
        route
        for route in routes
        if route.always_allowed or allow_list.permits(route.group, route.version_and_path)
    )
