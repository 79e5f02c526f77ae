"""Who may say what of itself."""

from __future__ import annotations

import pytest

from dapr_common.grpc.errors import RpcError
from dapr_common.security.spiffe import SpiffeId
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_placement.hosts import as_reported, authorise

ORDERS = SpiffeId.make("public", "shop", "orders")


def host(
    *entities: str, app_id: str = "orders", namespace: str = "shop", **more: object
) -> pb.Host:
    return pb.Host(id=app_id, namespace=namespace, entities=entities, **more)  # type: ignore[arg-type]


def refused(message: pb.Host, identity: SpiffeId | None = ORDERS, *, secured: bool = True) -> str:
    with pytest.raises(RpcError) as caught:
        authorise(message, identity, secured=secured)
    return f"{caught.value.code.name} {caught.value.message}"


def test_its_own() -> None:
    authorise(host("A", operation=pb.REPORT), ORDERS, secured=True)
    authorise(host("dapr.internal.shop.orders.workflow"), ORDERS, secured=True)
    authorise(host("dapr.internal.shop.orders.workflow"), None, secured=False)


def test_identities() -> None:
    assert refused(host(), None) == "UNAUTHENTICATED failed to get client ID from context"
    assert refused(host(app_id="other")) == (
        "PERMISSION_DENIED provided app ID other doesn't match the one in the SPIFFE ID (orders)"
    )
    assert refused(host(namespace="other")) == (
        "PERMISSION_DENIED provided client namespace other doesn't match the one in the "
        "SPIFFE ID (shop)"
    )


@pytest.mark.parametrize("message", [host(app_id=""), host(namespace=""), pb.Host()])
def test_id_and_namespace_are_always_needed(message: pb.Host) -> None:
    for secured in (True, False):
        assert refused(message, secured=secured) == (
            "INVALID_ARGUMENT host ID and namespace must be provided"
        )


def test_a_version_is_of_an_operation() -> None:
    assert refused(host(version=1)).startswith("INVALID_ARGUMENT")
    authorise(host(version=0, operation=pb.LOCK), ORDERS, secured=True)


@pytest.mark.parametrize(
    "entity",
    [
        "dapr.internal.shop.other.workflow",
        "dapr.internal.other.orders.workflow",
        "dapr.internal.shop",
        "dapr.internal.",
    ],
)
def test_internal_types_of_others(entity: str) -> None:
    for secured in (True, False):
        assert refused(host("A", entity), secured=secured) == (
            f"PERMISSION_DENIED entity {entity} is not allowed for app ID orders in namespace shop"
        )


def test_what_tables_carry() -> None:
    message = host("B", "A", "B", name="n:1", api_level=20, version=3, operation=pb.UNKNOWN)
    assert as_reported(message) == pb.Host(
        id="orders",
        namespace="shop",
        name="n:1",
        entities=["A", "B"],
        api_level=20,
        operation=pb.REPORT,
    )
