"""The gRPC API's server: token, allow-list, traces, counts and errors around every method."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from google.rpc import error_details_pb2

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.grpc import reflection
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, GrpcServer, Method
from dapr_common.observe.logs import get_logger
from dapr_sidecar.api.allow_list import AllowList
from dapr_sidecar.api.grpc.errors import to_rpc_error
from dapr_sidecar.api.grpc.groups import GROUPS
from dapr_sidecar.telemetry.grpc_server import GrpcServerTelemetry, bad_baggage

_API_LOG = get_logger("dapr.runtime.grpc.api-info")
_TOKEN = b"dapr-api-token"
_MAX_ERROR_TEXT = 63
SERVICE = "/dapr.proto.runtime.v1.Dapr/"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcApiSettings:
    """Limits and policies of the API server; sizes in bytes."""

    max_message_bytes: int | None
    read_buffer_bytes: int
    api_token: str = ""
    log_calls: bool = False


class GrpcApi:
    """Builds the API's server and keeps its hooks."""

    def __init__(
        self,
        methods: Iterable[Method],
        proxy: Method | None,
        allow_list: AllowList,
        telemetry: GrpcServerTelemetry,
        settings: GrpcApiSettings,
    ) -> None:
        self._allow_list = allow_list
        self._telemetry = telemetry
        self._token = settings.api_token
        self._log_calls = settings.log_calls
        self._denied = {
            SERVICE + name for name, group in GROUPS.items() if not allow_list.permits(group)
        }
        watch = telemetry.metering or telemetry.tracing or settings.log_calls
        self.server = GrpcServer(
            max_receive_bytes=settings.max_message_bytes,
            # A unit slip of the original that clients may rely on: the buffer counts in KiB here.
            max_header_list_bytes=settings.read_buffer_bytes * 1024,
            before=self._before if self._token or self._denied or telemetry.tracing else None,
            enter=telemetry.start_span if telemetry.tracing else None,
            after=self._after if watch else None,
            map_error=self._map_error,
        )
        reflected = reflection.methods(lambda: self.server.services, describe=_describe)
        for method in (*methods, *reflected):
            self.server.add(telemetry.traced(method))
        self.server.fallback = proxy

    def _before(self, context: Context, method: Method | None) -> None:
        if self._token:
            self._authenticate(context)
        if context.method in self._denied:
            raise status_error(
                GrpcCode.UNIMPLEMENTED,
                HTTPStatus.NOT_IMPLEMENTED,
                "requested endpoint is not available",
            )
        if self._telemetry.tracing and (wrong := bad_baggage(context)) is not None:
            raise RpcError(GrpcCode.INVALID_ARGUMENT, wrong)

    def _authenticate(self, context: Context) -> None:
        given = context.raw(_TOKEN)
        if given is None:
            raise _unauthenticated("missing api token in request metadata")
        if not hmac.compare_digest(given, self._token.encode()):
            raise _unauthenticated("authentication error: api token mismatch")
        context.hide(_TOKEN)

    def _map_error(self, error: Exception) -> RpcError | None:
        if isinstance(error, DaprError):
            self._telemetry.count_error(error)
        return map_error(error)

    def _after(
        self, context: Context, code: GrpcCode, elapsed_ms: float, received: int, sent: int
    ) -> None:
        self._telemetry.finish(context, code, elapsed_ms, received, sent)
        if self._log_calls:
            fields: dict[str, object] = {
                "method": context.method,
                "code": int(code),
                "duration": round(elapsed_ms),
            }
            if agent := context.get("user-agent"):
                fields["useragent"] = agent
            _API_LOG.info("gRPC API Called", extra={"fields": fields})


def map_error(error: Exception) -> RpcError | None:
    """A handler's ``DaprError`` as a status."""
    return to_rpc_error(error) if isinstance(error, DaprError) else None


def status_error(code: GrpcCode, status: HTTPStatus, text: str) -> RpcError:
    """A status that carries its HTTP twin, as Dapr's middlewares answer."""
    shown = {HTTPStatus.UNAUTHORIZED: "Unauthorized"}.get(status, status.phrase)
    detail = error_details_pb2.ErrorInfo(
        reason=shown,
        domain="dapr.io",
        metadata={"http.code": str(status.value), "http.error_message": text[:_MAX_ERROR_TEXT]},
    )
    return RpcError(code, shown, [detail])


def _unauthenticated(text: str) -> RpcError:
    return status_error(GrpcCode.UNAUTHENTICATED, HTTPStatus.UNAUTHORIZED, text)


def _describe() -> None:
    """The whole service, with the messages of APIs that nobody has called."""
    from dapr_common.wire.dapr.proto.runtime.v1 import dapr_pb2  # noqa: F401
