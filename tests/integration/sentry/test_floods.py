"""Too much of everything: calls that never end, crowds, silent peers; sentry stays and answers."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from harness.sentry import SIGN, Sentry

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.security.x509 import new_csr, new_private_key
from dapr_common.wire.dapr.proto.sentry.v1 import sentry_pb2 as pb

CSR = new_csr(new_private_key("ed25519"))
REQUEST = pb.SignCertificateRequest(id="app", namespace="ns", certificate_signing_request=CSR)
# What sentry bounds: calls of a host, calls of one connection, seconds of a call.
CALLS, STREAMS, CALL_SECONDS = 1024, 100, 15


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    with Sentry(flags=["--log-level=error"]) as program:
        yield program


def resident_mib(sentry: Sentry) -> float:
    return sentry.metrics()["process_resident_memory_bytes"] / 2**20


def channel(sentry: Sentry) -> GrpcChannel:
    return GrpcChannel(f"127.0.0.1:{sentry.port}", ssl=sentry.tls())


async def ask(one: GrpcChannel) -> pb.SignCertificateResponse:
    result = await one.unary(SIGN, REQUEST, pb.SignCertificateResponse, timeout=50)
    response: pb.SignCertificateResponse = result.message
    return response


async def test_a_crowd_is_answered(sentry: Sentry) -> None:
    crowd = [channel(sentry) for _ in range(100)]
    try:
        answers = await asyncio.gather(*(ask(one) for one in crowd for _ in range(3)))
    finally:
        await asyncio.gather(*(one.close() for one in crowd))
    assert len({answer.workload_certificate for answer in answers}) == 300
    assert sentry.metrics()["dapr_sentry_cert_sign_success_total"] == 300


async def test_requests_that_are_never_finished(sentry: Sentry) -> None:
    """Calls whose body does not come take all slots: others are refused at once, then served."""
    before = await asyncio.to_thread(resident_mib, sentry)
    crowd = [channel(sentry) for _ in range(CALLS // STREAMS + 1)]
    other = channel(sentry)
    try:
        for one in crowd:
            for _ in range(STREAMS):
                await one.open(SIGN)
        with pytest.raises(RpcError) as caught:
            await ask(other)
        assert caught.value.code == GrpcCode.UNAVAILABLE
        assert "too many requests are under way" in caught.value.message
        assert await asyncio.to_thread(resident_mib, sentry) - before < 150
        async with asyncio.timeout(CALL_SECONDS + 15):
            while not await _is_served(other):
                await asyncio.sleep(0.1)
    finally:
        await asyncio.gather(*(one.close() for one in (*crowd, other)))


async def _is_served(one: GrpcChannel) -> bool:
    try:
        await ask(one)
    except RpcError as error:
        if error.code != GrpcCode.UNAVAILABLE:
            raise
        return False
    return True


def test_connections_that_say_nothing(sentry: Sentry) -> None:
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", sentry.port), 5))
        began = time.monotonic()
        sentry.sign(timeout=30)
        assert time.monotonic() - began < 20
        assert sentry.health() == 200
