"""A real dapr-placement on free ports, and grpcio clients that report to it as Go sidecars do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

import grpc
import grpc.aio
from harness.http_call import Answer, call
from harness.programs import Program, console_script, free_port

from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb

METHOD = "/dapr.proto.placement.v1.Placement/ReportDaprStatus"
_OPERATIONS = {"lock": pb.LOCK, "update": pb.UPDATE, "unlock": pb.UNLOCK}


class Placement(Program):
    """One server; ready once its health says so, for which 127.0.0.1 is asked."""

    def __init__(
        self,
        *flags: str,
        env: Mapping[str, str] | None = None,
        exit_code: int | None = 0,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self.host, self.port = host, port or free_port()
        self.health_port, self.metrics_port = free_port(), free_port()
        values: dict[str, object] = {
            "port": self.port,
            "listen-address": host,
            "healthz-port": self.health_port,
            "metrics-port": self.metrics_port,
            "metadata-enabled": "true",
            "log-level": "debug",
        }
        command = [console_script("dapr-placement")]
        command += [f"--{name}={value}" for name, value in values.items()]
        super().__init__([*command, *flags], env=env, exit_code=exit_code)

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def is_ready(self) -> bool:
        try:
            return self.get("/healthz").status == 200
        except OSError:
            return False

    def get(self, path: str) -> Answer:
        """From the health port."""
        return call(self.health_port, "GET", path)

    def state(self) -> Any:
        """What ``/placement/state`` shows."""
        answer = self.get("/placement/state")
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    def metrics(self) -> dict[str, float]:
        """Sample with labels → value, as the text has them."""
        text = call(self.metrics_port, "GET", "/metrics").body.decode()
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines if name}


class PlacementClient:
    """One stream of a sidecar, by grpcio: what it sends and gets is on the wire like a Go one's."""

    def __init__(
        self,
        address: str,
        app_id: str,
        *,
        name: str = "",
        namespace: str = "default",
        credentials: grpc.ChannelCredentials | None = None,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self.app_id, self.namespace = app_id, namespace
        self.name = name or f"10.0.0.1:{app_id}"
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, list(options))
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, list(options))
        method = self._channel.stream_stream(
            METHOD, pb.Host.SerializeToString, pb.PlacementOrder.FromString
        )
        self.stream = method()
        self._orders: asyncio.Queue[pb.PlacementOrder | None] = asyncio.Queue()
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
            while isinstance(order := await self.stream.read(), pb.PlacementOrder):
                self._orders.put_nowait(order)
        self._orders.put_nowait(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Go, without a word."""
        self.stream.cancel()
        await self._channel.close()
        await asyncio.wait({self._reading})

    async def report(self, *entities: str, **more: Any) -> None:
        """Say what it hosts."""
        await self.send(
            name=self.name, entities=entities, api_level=20, operation=pb.REPORT, **more
        )

    async def send(self, **fields: Any) -> None:
        """Any message. Whether it still could be sent is for ``status`` to say."""
        fields = {"id": self.app_id, "namespace": self.namespace, **fields}
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self.stream.write(pb.Host(**fields))

    async def next(self, seconds: float = 30.0) -> pb.PlacementOrder:
        """The next order. Raises ``EOFError`` at the end of the stream, ``TimeoutError``."""
        async with asyncio.timeout(seconds):
            order = await self._orders.get()
        if order is None:
            raise EOFError(f"the stream has ended: {await self.status()}")
        return order

    async def acknowledge(self, order: pb.PlacementOrder) -> None:
        """Answer an order."""
        await self.send(operation=_OPERATIONS[order.operation], version=order.version)

    async def expect(self, operation: str, version: int) -> pb.PlacementOrder:
        """The next order must be this one."""
        order = await self.next()
        assert (order.operation, order.version) == (operation, version), order
        return order

    async def obey(self, *expected: str) -> pb.PlacementOrder:
        """Take orders such as ``lock 1``, each acknowledged; returns the last."""
        order = pb.PlacementOrder()
        for text in expected:
            operation, version = text.split()
            order = await self.expect(operation, int(version))
            await self.acknowledge(order)
        return order

    async def is_quiet(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes for a while."""
        try:
            order = await self.next(seconds)
        except TimeoutError:
            return True
        raise AssertionError(f"an order came: {order}")

    async def status(self, seconds: float = 15.0) -> tuple[grpc.StatusCode, str]:
        """How the stream ends, whatever orders come before."""
        async with asyncio.timeout(seconds):
            code = await self.stream.code()
            return code, await self.stream.details() or ""


def tables(order: pb.PlacementOrder) -> dict[str, list[str]]:
    """Type → app ids of its hosts."""
    return {
        entity: sorted(host.id for host in table.load_map.values())
        for entity, table in order.tables.entries.items()
    }
