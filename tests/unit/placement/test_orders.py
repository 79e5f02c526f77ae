"""Orders as they go over the wire."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any, cast

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_placement.hosts import as_reported
from dapr_placement.orders import OrderBook
from dapr_placement.stream import SidecarStream


def hosts(count: int) -> dict[str, pb.Host]:
    found = [pb.Host(name=f"n{n}:1", id=f"a{n}", entities=["B", "A"]) for n in range(count)]
    return {host.name: as_reported(host) for host in found}


def test_an_order_is_encoded_once_for_a_version() -> None:
    book = OrderBook(100)
    first = book.encoded("update", 1, lambda: hosts(3))
    assert book.encoded("update", 1, lambda: hosts(3)) is first
    assert first.plain is first.plain
    second = book.encoded("update", 2, lambda: hosts(2))
    assert second is not first
    order = pb.PlacementOrder.FromString(second.plain[5:])
    assert (order.version, order.tables.version, order.operation) == (2, "2", "update")
    assert order.tables.replication_factor == 100
    assert sorted(order.tables.entries) == ["A", "B"]
    assert sorted(order.tables.entries["A"].load_map) == ["n0:1", "n1:1"]


def test_only_tables_are_sent_with_an_update() -> None:
    book = OrderBook(100)
    for operation in ("lock", "unlock"):
        encoded = book.encoded(operation, 7, lambda: hosts(3))
        order = pb.PlacementOrder.FromString(encoded.plain[5:])
        assert order == pb.PlacementOrder(operation=operation, version=7)
        assert encoded.packed is encoded.plain, "it would not get smaller"


def test_tables_shrink() -> None:
    encoded = OrderBook(100).encoded("update", 1, lambda: hosts(1000))
    assert encoded.plain[0] == 0
    assert encoded.packed[0] == 1
    assert gzip.decompress(encoded.packed[5:]) == encoded.plain[5:]
    assert len(encoded.packed) < len(encoded.plain) / 4


class SlowCall:
    """A call whose client reads nothing after the first messages; not a real one."""

    def __init__(self, takes: int) -> None:
        self.left = takes
        self.sent: list[bytes] = []

    def compress(self, encoding: str) -> bool:
        return False

    def offer(self, message: bytes) -> bool:
        if not self.left:
            return False
        self.left -= 1
        self.sent.append(message)
        return True

    async def send_framed(self, message: bytes) -> None:
        await asyncio.Event().wait()


async def test_a_lock_takes_the_place_of_what_has_not_left() -> None:
    call, reader = SlowCall(2), asyncio.ensure_future(asyncio.Event().wait())
    stream = SidecarStream(1, cast(Any, call), cast(Any, reader))
    for version in range(1, 100):
        book = OrderBook(100)
        for operation in ("lock", "update", "unlock"):
            stream.put(operation, book.encoded(operation, version, dict))
    await asyncio.sleep(0)  # the task that sends waits with the order it holds
    sent = [pb.PlacementOrder.FromString(each[5:]).operation for each in call.sent]
    assert sent == ["lock", "update"]
    left = [pb.PlacementOrder.FromString(each.plain[5:]) for each in stream._queued]
    assert [(order.operation, order.version) for order in left] == [
        ("update", 99),
        ("unlock", 99),
    ]
    await stream.close()
    assert not stream._queued
    stream.end(RpcError(GrpcCode.UNAVAILABLE, "the end"))
    await asyncio.wait({reader})
    stream.put("lock", OrderBook(100).encoded("lock", 100, dict))
    assert not stream._queued
