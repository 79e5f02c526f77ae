"""What callers are told when something about actors does not work, with Dapr's codes and texts."""

from __future__ import annotations

from dapr_common.errors import DaprError, GrpcCode
from dapr_sidecar.blocks.actors.base import ActorRef


def no_placement() -> DaprError:
    """``--placement-host-address`` is not set."""
    return DaprError(
        "ERR_ACTOR_NO_PLACEMENT",
        "placement service is not configured",
        http_status=400,
        grpc_code=GrpcCode.UNAVAILABLE,
    )


def runtime_not_found() -> DaprError:
    """There is no actor state store."""
    return DaprError(
        "ERR_ACTOR_RUNTIME_NOT_FOUND",
        "the state store is not configured to use the actor runtime. Have you set the - name: "
        'actorStateStore value: "true" in your state store component file?',
    )


def runtime_closed() -> DaprError:
    """The sidecar stops."""
    return DaprError(
        "ERR_ACTOR_RUNTIME_CLOSED",
        "actor runtime is closed",
        http_status=503,
        grpc_code=GrpcCode.UNAVAILABLE,
    )


def namespace_required() -> DaprError:
    """In Kubernetes with mutual TLS, actors need to know whose they are."""
    return DaprError(
        "ERR_ACTOR_NAMESPACE_REQUIRED",
        "actors must have a namespace configured when running in Kubernetes mode",
        http_status=412,
        grpc_code=GrpcCode.FAILED_PRECONDITION,
    )


def no_address(ref: ActorRef) -> DaprError:
    """No sidecar hosts the type."""
    return DaprError(
        "ERR_ACTOR_NO_ADDRESS",
        f"did not find address for actor '{ref.type}/{ref.id}'",
        http_status=404,
        grpc_code=GrpcCode.FAILED_PRECONDITION,
    )


def invoke_failed(cause: object) -> DaprError:
    """A method could not be called, or the app did not answer with success."""
    return DaprError("ERR_ACTOR_INVOKE_METHOD", f"error invoke actor method: {cause}")


class MethodNotFoundError(DaprError):
    """The app has no such method; never tried again."""

    def __init__(self, ref: ActorRef, method: str) -> None:
        text = f"actor method not found: actors/{ref.type}/{ref.id}/method/{method}"
        super().__init__("ERR_ACTOR_INVOKE_METHOD", f"error invoke actor method: {text}")


class NotHereError(Exception):
    """The actor is not where it was looked for; worth another look after a while."""


def lookup_failed(ref: ActorRef) -> NotHereError:
    """No sidecar hosts the type, for now."""
    cause = no_address(ref)
    return NotHereError(
        "failed to lookup actor: api error: "
        f"code = {cause.grpc_code.go_name} desc = {cause.message}"
    )


def stack_depth() -> DaprError:
    """A reentrant call went deeper than its type allows."""
    return DaprError(
        "ERR_ACTOR_STACK_DEPTH",
        "maximum stack depth exceeded",
        grpc_code=GrpcCode.RESOURCE_EXHAUSTED,
    )


def instance_missing() -> DaprError:
    """State can be written only for an actor that is active on this sidecar."""
    return DaprError("ERR_ACTOR_INSTANCE_MISSING", "actor instance is missing", http_status=400)


def type_reserved(actor_type: str) -> DaprError:
    """The type is one of the runtime's own."""
    return DaprError(
        "ERR_ACTOR_TYPE_RESERVED",
        f'actor type "{actor_type}" is reserved for the Dapr workflow runtime; '
        "direct actor API access is not permitted",
        http_status=403,
        grpc_code=GrpcCode.PERMISSION_DENIED,
    )


def bad_request(what: object) -> DaprError:
    """The request itself is wrong."""
    return DaprError(
        "ERR_BAD_REQUEST",
        f"invalid request: {what}",
        http_status=400,
        grpc_code=GrpcCode.INVALID_ARGUMENT,
    )
