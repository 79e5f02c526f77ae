"""A minute of calls while the issuer and then the root are replaced: nothing may fail."""

from __future__ import annotations

import asyncio
import itertools
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from harness.authorities import below, root
from harness.http_call import call
from harness.identified import identified
from harness.local_app import LocalApp
from harness.sentry import Sentry
from harness.sidecar import Sidecar
from harness.sidecar_pair import names_in

from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.context import Context
from dapr_common.grpc.server import GrpcServer, Method
from dapr_common.security.authority import CaBundle, Life
from dapr_common.security.rotation import renewed_issuer, rotated
from dapr_common.security.x509 import PrivateKey

_SECONDS = 60
_TTL = timedelta(seconds=12)
_ADDRESSES = 1500
_CHAT = "/shop.Orders/Chat"


async def _chat(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


@pytest.fixture
async def chat_app() -> AsyncIterator[int]:
    server = GrpcServer(max_receive_bytes=1 << 20)
    server.add(Method(_CHAT, "stream_stream", None, None, _chat))
    yield await server.listen_tcp("127.0.0.1", 0)
    await server.close(0)


class Load:
    """Counts what went well; whatever did not ends the test."""

    def __init__(self) -> None:
        self.invoked = self.answered = 0
        self.until = time.monotonic() + _SECONDS

    @property
    def going_on(self) -> bool:
        return time.monotonic() < self.until

    async def invoke(self, front: Sidecar, target: str) -> None:
        """One call after the other, most over a connection of their own."""
        path = f"/v1.0/invoke/{target}/method/hi"
        while self.going_on:
            answer = await asyncio.to_thread(call, front.http_port, "GET", path)
            assert answer.status == 200, answer.body
            self.invoked += 1
            await asyncio.sleep(0.02)

    async def chat(self, front: Sidecar, target: str) -> None:
        """One stream for the whole time."""
        channel = GrpcChannel(front.grpc_address)
        stream = await channel.open(_CHAT, [("dapr-app-id", target)])
        for number in itertools.count():
            await stream.send(b"%d" % number)
            assert await asyncio.wait_for(anext(stream), 20) == b"%d" % number
            self.answered += 1
            if not self.going_on:
                break
            await asyncio.sleep(0.05)
        await channel.close()


def life() -> Life:
    return Life.of(datetime.now(UTC), timedelta(days=1), timedelta(0))


@pytest.fixture
def sentry() -> Iterator[tuple[Sentry, CaBundle, PrivateKey]]:
    anchor, root_key = root("ecdsa")
    issuer, key = below(anchor, root_key, "ecdsa")
    bundle = CaBundle((anchor,), (issuer,), key)
    short = {"workloadCertTTL": f"{_TTL.seconds}s", "allowedClockSkew": "1s"}
    with Sentry(bundle=bundle, mtls=short) as running:
        yield running, bundle, root_key


async def replace_everything(sentry: Sentry, bundle: CaBundle, root_key: PrivateKey) -> None:
    """Another issuer, another root, and at last nothing of the old root any more."""

    async def swap(new: CaBundle, times: int) -> None:
        sentry.put(new)
        await asyncio.to_thread(sentry.wait_lines, "issuer certificate has changed", times)

    pause = _SECONDS / 4
    await asyncio.sleep(pause)
    issuer_renewed = renewed_issuer(bundle, life(), root_key)
    await swap(issuer_renewed, 1)
    await asyncio.sleep(pause)
    both = rotated(issuer_renewed, datetime.now(UTC), life())
    await swap(both, 2)
    await asyncio.sleep(pause)
    sentry.put(CaBundle(both.anchors[:1], both.chain[:1], both.key))
    await asyncio.to_thread(sentry.wait_line, "The trust anchors have changed; there are 1 now")


def many_addresses(names: Path, app_id: str, port: int) -> None:
    """The whole of 127.0.0.0/8 is this machine: a connection for each address."""
    fresh = int(time.time()) + 10 * _SECONDS
    rows = [
        (f"extra-{n}", f"127.1.{n // 250}.{n % 250 + 1}:{port}", app_id, "", fresh)
        for n in range(_ADDRESSES)
    ]
    with closing(sqlite3.connect(names)) as database, database:
        database.executemany("INSERT INTO hosts VALUES (?, ?, ?, ?, ?)", rows)


def renewals(sidecar: Sidecar) -> int:
    text = call(sidecar.metrics_port, "GET", "/").body.decode()
    found = re.search(r"dapr_runtime_mtls_workload_cert_rotated_total\{[^}]*\} (\d+)", text)
    return int(found[1]) if found else 0


@pytest.mark.slow
async def test_no_call_fails_while_issuer_and_root_are_replaced(
    sentry: tuple[Sentry, CaBundle, PrivateKey], chat_app: int, tmp_path: Path
) -> None:
    authority, bundle, root_key = sentry
    config = names_in(tmp_path)
    load = Load()
    async with (
        LocalApp({"GET /hi": (200, {})}) as app,
        identified(authority, "rotation-front", config=config) as front,
        identified(authority, "rotation-http", config=config, app_port=app.port) as http,
        identified(
            authority, "rotation-grpc", config=config, app_port=chat_app, app_protocol="grpc"
        ) as grpc,
    ):
        many_addresses(tmp_path / "names.db", http.app_id, http.internal_port)
        load.until = time.monotonic() + _SECONDS
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(replace_everything(authority, bundle, root_key))
            tasks.create_task(load.chat(front, grpc.app_id))
            for _ in range(3):
                tasks.create_task(load.invoke(front, http.app_id))
        for sidecar in (front, http, grpc):
            assert renewals(sidecar) >= _SECONDS / _TTL.seconds
            assert "could not be renewed" not in sidecar.log
            trusted = [line for line in sidecar.lines if "trust anchors have changed" in line]
            assert len(trusted) == 2
    # Some a second, all the time; a busy machine manages no more.
    assert load.invoked > 3 * _SECONDS
    assert load.answered > 3 * _SECONDS
