"""What a sidecar says of itself, and whether it may say so."""

from __future__ import annotations

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.security.spiffe import SpiffeId
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb

_RESERVED = "dapr.internal."
_MOST_TABLE_BYTES = 16 << 20


def authorise(host: pb.Host, identity: SpiffeId | None, *, secured: bool) -> None:
    """Check one message. ``identity`` is the peer's; it counts where TLS is on (``secured``).

    Raises ``RpcError``.
    """
    if secured and identity is None:
        raise RpcError(GrpcCode.UNAUTHENTICATED, "failed to get client ID from context")
    if not host.id or not host.namespace:
        raise RpcError(GrpcCode.INVALID_ARGUMENT, "host ID and namespace must be provided")
    if identity is not None and secured:
        _must_be(host, identity)
    if host.HasField("version") and host.operation == pb.UNKNOWN:
        raise RpcError(
            GrpcCode.INVALID_ARGUMENT, "a host report with a version must have an operation"
        )
    if len(host.entities) * host.ByteSize() > _MOST_TABLE_BYTES:
        raise RpcError(
            GrpcCode.RESOURCE_EXHAUSTED,
            f"{len(host.entities)} actor types of one host are too many: "
            "each of them has the whole host in its table",
        )
    for entity in host.entities:
        if entity.startswith(_RESERVED) and not _owns(host, entity):
            raise RpcError(
                GrpcCode.PERMISSION_DENIED,
                f"entity {entity} is not allowed for app ID {host.id} "
                f"in namespace {host.namespace}",
            )


def _must_be(host: pb.Host, identity: SpiffeId) -> None:
    if host.id != identity.app_id:
        raise RpcError(
            GrpcCode.PERMISSION_DENIED,
            f"provided app ID {host.id} doesn't match the one in the SPIFFE ID ({identity.app_id})",
        )
    if host.namespace != identity.namespace:
        raise RpcError(
            GrpcCode.PERMISSION_DENIED,
            f"provided client namespace {host.namespace} doesn't match the one in the SPIFFE ID "
            f"({identity.namespace})",
        )


def _owns(host: pb.Host, entity: str) -> bool:
    """Internal types are ``dapr.internal.<namespace>.<app id>.<more>``."""
    parts = entity.split(".")
    return len(parts) > 3 and parts[2] == host.namespace and parts[3] == host.id


def as_reported(host: pb.Host) -> pb.Host:
    """The report as tables carry it: types ascending and once, marked as a report."""
    report = pb.Host()
    report.CopyFrom(host)
    report.ClearField("version")
    del report.entities[:]
    report.entities.extend(sorted(set(host.entities)))
    report.operation = pb.REPORT
    return report


def is_same(one: pb.Host, other: pb.Host) -> bool:
    """Whether a report says nothing that tables show differently."""
    return (
        one.name == other.name
        and one.port == other.port
        and one.id == other.id
        and one.namespace == other.namespace
        and list(one.entities) == list(other.entities)
    )
