"""Actors of an app that opened ``SubscribeActorEventsAlpha1``, with grpcio as the app."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import duration_pb2
from harness.app import RecordingApp
from harness.http_call import Answer
from harness.placement_process import Placement
from harness.sidecar import Sidecar
from integration.actors.hosts import STORE, active, call_actor, until, wait_hosts

from dapr_common.wire.dapr.proto.runtime.v1 import actors_pb2 as pb

METHOD = "/dapr.proto.runtime.v1.Dapr/SubscribeActorEventsAlpha1"
Request = pb.SubscribeActorEventsRequestAlpha1
Initial = pb.SubscribeActorEventsRequestInitialAlpha1


class StreamApp:
    """An app's end of the stream."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        method = channel.stream_stream(
            METHOD,
            Request.SerializeToString,
            pb.SubscribeActorEventsResponseAlpha1.FromString,
        )
        self.stream: Any = method()

    async def open(self, initial: Initial) -> None:
        await self.stream.write(Request(initial_request=initial))
        assert (await self.stream.read()).HasField("initial_response")

    async def next(self) -> pb.SubscribeActorEventsResponseAlpha1:
        async with asyncio.timeout(20):
            found = await self.stream.read()
        assert isinstance(found, pb.SubscribeActorEventsResponseAlpha1)
        return found


@contextlib.asynccontextmanager
async def stream_app(sidecar: Sidecar, **initial: Any) -> AsyncIterator[StreamApp]:
    async with grpc.aio.insecure_channel(sidecar.grpc_address) as channel:
        app = StreamApp(channel)
        await app.open(Initial(**initial))
        yield app


@pytest.fixture
async def sidecar(placement: Placement) -> AsyncIterator[Sidecar]:
    """Beside an app without a port."""
    flags = [f"--placement-host-address={placement.address}"]
    async with Sidecar(resources=[STORE], flags=flags) as found:
        yield found


async def calling(sidecar: Sidecar, actor: str, method: str, body: object = None) -> Answer:
    return await asyncio.to_thread(call_actor, sidecar, actor, method, body)


async def test_calls_go_over_the_stream(placement: Placement, sidecar: Sidecar) -> None:
    async with stream_app(sidecar, entities=["Streamed"]) as app:
        await asyncio.to_thread(wait_hosts, placement, "Streamed", 1)
        running = asyncio.create_task(calling(sidecar, "Streamed/1", "hello", {"a": 1}))
        request = (await app.next()).invoke_request
        assert (request.actor_type, request.actor_id) == ("Streamed", "1")
        assert (request.method, request.data) == ("hello", b'{"a": 1}')
        assert request.metadata["Dapr-Caller-App-Id"] == sidecar.app_id
        answer = pb.SubscribeActorEventsRequestInvokeResponseAlpha1(
            id=request.id,
            data=b"world",
            metadata={"content-type": "text/x", "X-Back": "1", "A\r\nX-Injected": "1"},
        )
        await app.stream.write(Request(invoke_response=answer))
        got = await running
        assert (got.status, got.body, got.headers["content-type"]) == (200, b"world", "text/x")
        assert got.headers["x-back"] == "1"
        assert "x-injected" not in got.headers
        assert active(sidecar) == {"Streamed": 1}


async def test_what_the_app_refuses(placement: Placement, sidecar: Sidecar) -> None:
    async with stream_app(sidecar, entities=["Refused"]) as app:
        await asyncio.to_thread(wait_hosts, placement, "Refused", 1)
        for code, text in [
            (5, "error invoke actor method: actor method not found: actors/Refused/1/method/no"),
            (13, "error invoke actor method: error from actor service: (Internal) broken"),
        ]:
            running = asyncio.create_task(calling(sidecar, "Refused/1", "no"))
            request = (await app.next()).invoke_request
            failed = pb.SubscribeActorEventsRequestFailedAlpha1(
                id=request.id, code=code, message="broken"
            )
            await app.stream.write(Request(request_failed=failed))
            assert (await running).json["message"] == text
        running = asyncio.create_task(calling(sidecar, "Refused/1", "own"))
        request = (await app.next()).invoke_request
        own = pb.SubscribeActorEventsRequestInvokeResponseAlpha1(
            id=request.id, data=b"mine", error=True
        )
        await app.stream.write(Request(invoke_response=own))
        got = await running
        assert (got.status, got.body) == (200, b"mine")
        assert "x-daprerrorresponseheader" in got.headers


async def test_an_answer_to_another_kind_of_request(placement: Placement, sidecar: Sidecar) -> None:
    async with stream_app(sidecar, entities=["Confused"]) as app:
        await asyncio.to_thread(wait_hosts, placement, "Confused", 1)
        running = asyncio.create_task(calling(sidecar, "Confused/1", "hello"))
        request = (await app.next()).invoke_request
        answer = pb.SubscribeActorEventsRequestReminderResponseAlpha1(id=request.id)
        await app.stream.write(Request(reminder_response=answer))
        got = await running
        assert (got.status, got.code) == (500, "ERR_ACTOR_INVOKE_METHOD")
        assert got.json["message"].endswith(
            "actor host answered invoke_request with reminder_response"
        )


async def test_idle_actors_are_deactivated(placement: Placement, sidecar: Sidecar) -> None:
    idle = duration_pb2.Duration(nanos=500_000_000)
    async with stream_app(sidecar, entities=["Quiet"], actor_idle_timeout=idle) as app:
        await asyncio.to_thread(wait_hosts, placement, "Quiet", 1)
        running = asyncio.create_task(calling(sidecar, "Quiet/1", "m"))
        request = (await app.next()).invoke_request
        answer = pb.SubscribeActorEventsRequestInvokeResponseAlpha1(id=request.id)
        await app.stream.write(Request(invoke_response=answer))
        await running
        leaving = (await app.next()).deactivate_request
        assert (leaving.actor_type, leaving.actor_id) == ("Quiet", "1")
        done = pb.SubscribeActorEventsRequestDeactivateResponseAlpha1(id=leaving.id)
        await app.stream.write(Request(deactivate_response=done))


async def test_the_end_of_the_stream(placement: Placement, sidecar: Sidecar) -> None:
    async with stream_app(sidecar, entities=["Ended"]) as app:
        await asyncio.to_thread(wait_hosts, placement, "Ended", 1)
        running = asyncio.create_task(calling(sidecar, "Ended/1", "m"))
        await app.next()
        app.stream.cancel()
        message = (await running).json["message"]
        assert message.endswith("actor host disconnected before responding")
    await asyncio.to_thread(wait_hosts, placement, "Ended", 0)
    until(lambda: active(sidecar) == {}, "nothing is hosted")


async def test_a_sidecar_that_stops_ends_the_stream(placement: Placement) -> None:
    flags = [f"--placement-host-address={placement.address}"]
    async with Sidecar(resources=[STORE], flags=flags) as sidecar:
        async with (
            stream_app(sidecar, entities=["Stops"]) as app,
            grpc.aio.insecure_channel(sidecar.grpc_address) as silent,
        ):
            nothing_said = StreamApp(silent).stream
            await nothing_said.wait_for_connection()
            await asyncio.to_thread(wait_hosts, placement, "Stops", 1)
            stopping = asyncio.create_task(asyncio.to_thread(sidecar.stop))
            async with asyncio.timeout(20):
                assert await app.stream.read() is grpc.aio.EOF
            assert await app.stream.code() is grpc.StatusCode.OK
            await stopping
        assert "Graceful shutdown timeout exceeded" not in sidecar.log


async def test_the_first_message_must_say_what_is_hosted(sidecar: Sidecar) -> None:
    async with grpc.aio.insecure_channel(sidecar.grpc_address) as channel:
        app = StreamApp(channel)
        await app.stream.write(Request(deactivate_response={"id": "1"}))
        assert await app.stream.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_http_apps_are_called_over_http(placement: Placement) -> None:
    flags = [f"--placement-host-address={placement.address}"]
    with RecordingApp({}) as app:
        async with (
            Sidecar(app_port=app.port, flags=flags) as sidecar,
            grpc.aio.insecure_channel(sidecar.grpc_address) as channel,
        ):
            stream = StreamApp(channel).stream
            # Refused at once: a message would be too late now and then.
            assert await stream.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert await stream.details() == (
                "actor callback streaming requires a gRPC app channel"
            )
