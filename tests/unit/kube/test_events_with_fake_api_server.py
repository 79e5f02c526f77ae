"""Events: counted, bounded, and never in anybody's way."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from harness.fake_api_server import FakeApiServer, answer, failure, fake_api_server

from dapr_common.http.messages import Request, Response
from dapr_common.kube import events
from dapr_common.kube.client import KubeClient
from dapr_common.kube.events import EventRecorder, Subject

ORDERS = Subject("apps/v1", "ReplicaSet", "orders-7d9", "shop", "u1")


class Written:
    """What arrived, as (method, body); ``answers`` are given first."""

    def __init__(self, fake: FakeApiServer) -> None:
        self.bodies: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self.answers: list[Response] = []
        fake.line.append(self._answer)

    def _answer(self, request: Request) -> Response:
        body = json.loads(request.body or b"")
        self.bodies.put_nowait((request.method, body))
        if self.answers:
            return self.answers.pop(0)
        name = body["metadata"]["name"] if request.method == "POST" else "e"
        return answer({"metadata": {"name": name}})

    async def next(self) -> tuple[str, dict[str, Any]]:
        async with asyncio.timeout(30):
            return await self.bodies.get()


Recording = tuple[EventRecorder, Written, asyncio.Task[None]]


@asynccontextmanager
async def recording(
    **more: Any,
) -> AsyncIterator[tuple[EventRecorder, Written, asyncio.Task[None]]]:
    async with fake_api_server() as fake, KubeClient(fake.login) as client:
        written, recorder = Written(fake), EventRecorder(client, "dapr-injector", **more)
        task = asyncio.create_task(recorder.run())
        try:
            yield recorder, written, task
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_an_event_as_the_api_wants_it() -> None:
    async with recording() as (recorder, written, _):
        recorder.report(ORDERS, "DaprInjectionFailed", "x" * 2000)
        method, body = await written.next()
        assert method == "POST"
        assert body["involvedObject"] == {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": "orders-7d9",
            "namespace": "shop",
            "uid": "u1",
        }
        assert (body["type"], body["reason"], body["count"]) == (
            "Warning",
            "DaprInjectionFailed",
            1,
        )
        assert len(body["message"]) == 1024
        assert body["metadata"]["name"].startswith("orders-7d9.")
        assert body["source"] == {"component": "dapr-injector"}


async def test_the_same_again_is_counted_and_written_now_and_then() -> None:
    async with recording() as (recorder, written, _):
        for _ in range(100):
            recorder.report(ORDERS, "R", "the same")
        assert (await written.next())[1]["count"] == 100
        recorder.report(ORDERS, "R", "the same")
        recorder.report(ORDERS, "R", "another")
        assert (await written.next())[1]["message"] == "another"
        assert written.bodies.empty()


async def test_after_a_while_the_event_is_counted_up_or_made_anew() -> None:
    async with recording(repeat_seconds=0) as (recorder, written, _):
        recorder.report(ORDERS, "R", "the same")
        await written.next()
        await asyncio.sleep(0)
        recorder.report(ORDERS, "R", "the same")
        method, body = await written.next()
        assert (method, body["count"]) == ("PATCH", 2)
        written.answers = [failure(404, "NotFound")]
        recorder.report(ORDERS, "R", "the same")
        assert (await written.next())[0] == "PATCH"
        method, body = await written.next()
        assert (method, body["count"]) == ("POST", 1)


async def test_too_many_at_a_time_are_left_out_and_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_SECONDS_EACH", 3600.0)  # however long the burst takes here
    async with recording() as (recorder, written, _):
        for number in range(300):
            recorder.report(ORDERS, "R", f"number {number}")
        with caplog.at_level(logging.WARNING):
            for _ in range(25):
                await written.next()
        assert "44 events were not written" in caplog.text
        with pytest.raises(TimeoutError):  # the next one after the burst has to wait
            async with asyncio.timeout(0.3):
                await written.bodies.get()


async def test_a_failure_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with recording() as (recorder, written, _):
        written.answers = [
            failure(403, "Forbidden", "no rule"),
            failure(403, "Forbidden", "no rule"),
            failure(500, "InternalError", "it hurts"),
        ]
        for number in range(4):
            recorder.report(ORDERS, "R", f"number {number}")
            await written.next()
        assert caplog.text.count("a rule of RBAC is missing") == 1
        assert "it hurts" in caplog.text


async def test_the_end_writes_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_LAST_SECONDS", 30.0)
    async with recording() as (recorder, written, task):
        for number in range(40):
            recorder.report(ORDERS, "R", f"number {number}")
        _, first = await written.next()
        task.cancel()
        await asyncio.wait([task])
        messages = {first["message"]}
        while not written.bodies.empty():
            messages.add((await written.next())[1]["message"])
        assert messages == {f"number {number}" for number in range(40)}


async def test_whoever_tells_knows_what_is_news() -> None:
    async with recording() as (recorder, written, _):
        assert recorder.report(ORDERS, "R", "the same")
        assert not recorder.report(ORDERS, "R", "the same"), "it waits to be written"
        await written.next()
        assert not recorder.report(ORDERS, "R", "the same"), "it was written a moment ago"
        assert recorder.report(ORDERS, "R", "another")


async def test_what_went_with_its_namespace_is_nobodys_concern(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with recording() as (recorder, written, _):
        written.answers = [failure(404, "NotFound", "namespaces shop not found")]
        recorder.report(ORDERS, "R", "it went")
        await written.next()
        recorder.report(ORDERS, "R", "it is back")
        assert (await written.next())[1]["message"] == "it is back"
        assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
