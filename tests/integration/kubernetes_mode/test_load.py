"""Requests flow all the time while everything is changed, and changed for the worse."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from harness.cluster_apps import (
    COMPONENTS,
    CONFIGURATIONS,
    HTTP_ENDPOINTS,
    RESILIENCIES,
    SUBSCRIPTIONS,
    Place,
)
from harness.local_app import LocalApp
from harness.sidecar import Sidecar

from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import state_pb2

REQUESTS: tuple[tuple[str, str, Any, tuple[int, ...]], ...] = (
    ("POST", "/v1.0/state/file", [{"key": "k", "value": 1}], (204,)),
    ("GET", "/v1.0/state/file/k", None, (200, 204)),  # the table is another one now and then
    ("POST", "/v1.0/publish/bus/t", {"n": 1}, (204,)),
    ("GET", "/v1.0/invoke/api/method/x", None, (200,)),
    ("GET", "/v1.0/metadata", None, (200,)),
    ("GET", "/v1.0/healthz", None, (204,)),
)
_APPLIED, _KEPT = "Configuration mine is applied", "the running configuration stays"
_LOADED = "Component loaded: file"


class Load:
    """Clients that never rest: over kept connections, over new ones, over gRPC."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._done = threading.Event()
        self.count = 0
        self.failures: list[str] = []

    def over_http(self, *, keep: bool) -> None:
        connection = self._connect()
        number = 0
        while not self._done.is_set():
            if not keep:
                connection.close()
                connection = self._connect()
            method, path, body, wanted = REQUESTS[number % len(REQUESTS)]
            number += 1
            self._one(connection, method, path, body, wanted)
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._sidecar.http_port, timeout=10)

    def _one(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Any,
        wanted: tuple[int, ...],
    ) -> None:
        data = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        self.count += 1
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"{method} {path}: {error!r}")
            connection.close()
            return
        if response.status not in wanted:
            self.failures.append(f"{method} {path}: {response.status} {text[:200]!r}")

    async def over_grpc(self) -> None:
        channel = GrpcChannel(self._sidecar.grpc_address)
        item = common_pb2.StateItem(key="g", value=b"1")
        request = state_pb2.SaveStateRequest(store_name="file", states=[item])
        while not self._done.is_set():
            self.count += 1
            try:
                await channel.unary("/dapr.proto.runtime.v1.Dapr/SaveState", request, timeout=10)
            except RpcError as error:
                self.failures.append(f"gRPC: {error}")
        await channel.close()

    async def during(self, changes: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for keep in (True, True, False):
                tasks.create_task(asyncio.to_thread(self.over_http, keep=keep))
            tasks.create_task(self.over_grpc())
            try:
                await changes()
            finally:
                self._done.set()


def configuration(number: int) -> dict[str, Any]:
    """Every section that a sidecar applies, in turns; every fourth is one that cannot be used."""
    if number % 4 == 3:
        policy = {"appId": "x", "namespace": "", "trustDomain": ""}
        return {"accessControl": {"policies": [policy]}}
    return {
        "tracing": {"samplingRate": "1" if number % 2 else "0", "stdout": True},
        "metrics": {
            "enabled": number % 3 > 0,
            "http": {"increasedCardinality": bool(number % 2)},
            "latencyDistributionBuckets": [1, 10 + number],
        },
        "accessControl": {"defaultAction": "deny" if number % 2 else "allow"},
        "api": {"denied": [{"name": "lock", "version": "v1alpha1", "protocol": "http"}]},
        "httpPipeline": {"handlers": [{"name": "upper", "type": "middleware.http.routeralias"}]}
        if number % 2
        else {"handlers": []},
        "logging": {"apiLogging": {"enabled": bool(number % 2)}},
    }


def policies(number: int) -> dict[str, Any]:
    retry = {"policy": "constant", "duration": "1ms", "maxRetries": 3 + number}
    return {
        "policies": {"retries": {"r": retry}, "timeouts": {"t": "9s" if number % 3 else "bad"}},
        "targets": {
            "apps": {"api": {"retry": "r", "timeout": "t"}},
            "components": {"file": {"outbound": {"retry": "r"}}},
        },
    }


@pytest.mark.slow
async def test_no_request_fails_whatever_is_applied(place: Place) -> None:
    path, bus = str(place.folder / "s.db"), str(place.folder / "bus.db")

    async def store(number: int) -> None:
        if number % 4 == 3:
            await place.component("file", "state.nothing")
        else:
            await place.component(
                "file", "state.sqlite", connectionString=path, tableName=f"t{number % 2}"
            )

    async def broker(number: int) -> None:
        await place.component("bus", "pubsub.sqlite", connectionString=bus, note=str(number))

    async def subscription(number: int) -> None:
        route = "/one" if number % 2 else "/two"
        spec = {"pubsubname": "bus", "topic": "t", "routes": {"default": route}}
        await place.apply(SUBSCRIPTIONS, "s", spec)

    async with LocalApp({"GET /x": 200, "POST /one": 200, "POST /two": 200}) as app:

        async def endpoint(number: int) -> None:
            headers = [{"name": "n", "value": str(number)}]
            spec = {"baseUrl": f"http://127.0.0.1:{app.port}", "headers": headers}
            await place.apply(HTTP_ENDPOINTS, "api", spec)

        async def come_and_go(number: int) -> None:
            if number % 2:
                await place.delete(COMPONENTS, "extra")
            else:
                await place.component("extra", "state.nothing" if number % 4 else "state.in-memory")

        for first in (store, broker, subscription, endpoint):
            await first(0)
        await place.apply(CONFIGURATIONS, "mine", configuration(0))
        async with await place.sidecar(config="mine", app_port=app.port) as sidecar:
            load = Load(sidecar)
            heard: Counter[str] = Counter()

            async def configure(number: int) -> None:
                """The next one comes when this was heard: of two at once the newer one counts."""
                text = _KEPT if number % 4 == 3 else _APPLIED
                heard[text] += 1
                await place.apply(CONFIGURATIONS, "mine", configuration(number))
                await asyncio.to_thread(sidecar.wait_lines, text, heard[text])

            async def changes() -> None:
                for number in range(1, 17):
                    for change in (store, broker, subscription, endpoint):
                        await change(number)
                        await asyncio.sleep(0.05)
                    if number % 4 in (1, 2):  # another table than the one in use
                        heard[_LOADED] += 1
                        await asyncio.to_thread(sidecar.wait_lines, _LOADED, 1 + heard[_LOADED])
                    await come_and_go(number - 1)
                    await configure(number)
                    await place.apply(RESILIENCIES, "r", policies(number))
                    await asyncio.sleep(0.2)

            await load.during(changes)
            assert load.failures == [], f"of {load.count} requests"
            assert load.count > 500
            assert sidecar.log.count(_APPLIED) == 12
            assert sidecar.log.count(_KEPT) == 4
            assert sidecar.log.count(_LOADED) > 8
            assert "Starting over" not in sidecar.log
            assert "Traceback" not in sidecar.log
