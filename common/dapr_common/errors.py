"""The one error type of the runtime; transports turn it into HTTP or gRPC in one place each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

DOMAIN = "dapr.io"


class GrpcCode(IntEnum):
    """Canonical gRPC status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @property
    def go_name(self) -> str:
        """The name Go's status package prints, such as ``InvalidArgument``."""
        if self is GrpcCode.OK:
            return "OK"
        if self is GrpcCode.CANCELLED:
            return "Canceled"
        return "".join(word.capitalize() for word in self.name.split("_"))


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """``google.rpc.ErrorInfo``; ``metadata=None`` is written as JSON ``null``."""

    reason: str
    metadata: Mapping[str, str] | None = None
    domain: str = DOMAIN


@dataclass(frozen=True, slots=True)
class ResourceInfo:
    """``google.rpc.ResourceInfo``."""

    resource_type: str
    resource_name: str
    description: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class BadRequest:
    """``google.rpc.BadRequest``: pairs of field and description."""

    violations: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Help:
    """``google.rpc.Help``: pairs of description and URL."""

    links: Sequence[tuple[str, str]]


Detail = ErrorInfo | ResourceInfo | BadRequest | Help


class DaprError(Exception):
    """A failure that the caller of an API is told about.

    ``code`` is the HTTP ``errorCode``. ``details`` go to both transports; ``grpc_details`` to gRPC
    only (Dapr's "basic" errors carry an ErrorInfo there and nothing over HTTP). ``http_headers``
    stand beside the answer over HTTP.
    """

    http_headers: Sequence[tuple[bytes, bytes]] = ()

    def __init__(
        self,
        code: str,
        message: str,
        *,
        http_status: int = 500,
        grpc_code: GrpcCode = GrpcCode.INTERNAL,
        details: Sequence[Detail] = (),
        grpc_details: Sequence[Detail] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status
        self.grpc_code = grpc_code
        self.details = tuple(details)
        self.grpc_details = tuple(grpc_details)

    @classmethod
    def basic(
        cls,
        code: str,
        message: str,
        *,
        http_status: int = 500,
        grpc_code: GrpcCode = GrpcCode.INTERNAL,
    ) -> DaprError:
        """An error that is bare over HTTP and carries ``ErrorInfo(reason=code)`` over gRPC."""
        return cls(
            code,
            message,
            http_status=http_status,
            grpc_code=grpc_code,
            grpc_details=(ErrorInfo(code, {}),),
        )

    def __str__(self) -> str:
        return self.message
