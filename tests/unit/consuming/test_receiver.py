"""A consumer outlives sessions that end in any way, and calls that nobody answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dapr_sidecar.components.consuming import receiver as module
from dapr_sidecar.components.consuming.calls import own_cancellation, within
from dapr_sidecar.components.consuming.receiver import Delivery, Receiver


async def never() -> None:
    await asyncio.Event().wait()


async def done() -> None:
    """Nothing to wait for."""


class FakeSession:
    """Ends as it is told."""

    def __init__(self) -> None:
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()

    async def ended(self) -> None:
        await self.end

    async def stop(self) -> None:
        """Nothing is delivered anyway."""

    async def close(self) -> None:
        self.closed.set()


class Broker:
    """Opens sessions, or does what ``instead`` says."""

    def __init__(self) -> None:
        self.sessions: list[FakeSession] = []
        self.put: Callable[[Delivery[str]], None] | None = None
        self.instead: Callable[[], Awaitable[None]] = done
        self.opened = asyncio.Event()

    async def open(self, put: Callable[[Delivery[str]], None]) -> FakeSession:
        await self.instead()
        self.put = put
        self.sessions.append(FakeSession())
        self.opened.set()
        return self.sessions[-1]

    def receiver(self, handler: Callable[[str], Awaitable[object]]) -> Receiver[str]:
        return Receiver("q", self.open, handler, concurrency=1, limit=10, pause=0.05)


@pytest.fixture
async def broker() -> Broker:
    return Broker()


async def ignore(_: str) -> None:
    """The message does not matter."""


@pytest.mark.parametrize("how", ["cancelled", "raised", "failed", "returned"])
async def test_a_session_that_ended_is_followed_by_another(broker: Broker, how: str) -> None:
    receiver = broker.receiver(ignore)
    await receiver.start()
    first = broker.sessions[0]
    broker.opened.clear()
    if how == "cancelled":
        first.end.cancel()
    elif how == "raised":  # what a client library did to the calls of a lost connection
        first.end.set_exception(asyncio.CancelledError())
    elif how == "failed":
        first.end.set_exception(OSError("gone"))
    else:
        first.end.set_result(None)
    await asyncio.wait_for(broker.opened.wait(), 30)
    assert first.closed.is_set()
    await receiver.close()
    assert broker.sessions[-1].closed.is_set()


async def test_a_broker_that_does_not_answer_the_first_time(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_OPEN_SECONDS", 0.05)
    broker.instead = never
    receiver = broker.receiver(ignore)
    with pytest.raises(ConnectionError, match=r"did not answer within 0\.05 s"):
        await receiver.start()
    await receiver.close()


async def test_a_broker_that_does_not_answer_is_asked_again(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_OPEN_SECONDS", 0.05)
    receiver = broker.receiver(ignore)
    await receiver.start()
    broker.opened.clear()
    broker.instead = never
    broker.sessions[0].end.set_result(None)
    await asyncio.sleep(0.2)
    broker.instead = done
    await asyncio.wait_for(broker.opened.wait(), 30)
    await receiver.close()


async def test_a_settlement_that_is_not_answered_holds_nobody_up(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLE_SECONDS", 0.05)
    got: list[str] = []
    both = asyncio.Event()

    async def take(message: str) -> None:
        got.append(message)
        if len(got) == 2:
            both.set()

    receiver = broker.receiver(take)
    await receiver.start()
    assert broker.put is not None
    broker.put(Delivery("1", never, never))
    broker.put(Delivery("2", never, never))
    await asyncio.wait_for(both.wait(), 30)
    await asyncio.wait_for(receiver.close(), 30)


async def test_a_cancellation_of_the_task_itself_passes() -> None:
    async def work() -> None:
        with own_cancellation("lost"):
            await never()

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_deadline_has_words() -> None:
    with pytest.raises(ConnectionError, match=r"silent within 0\.01 s"):
        async with within(0.01, "silent"):
            await never()


async def test_a_deadline_around_it_passes() -> None:
    async def work() -> None:
        async with asyncio.timeout(0.01):
            with own_cancellation("lost"):
                await never()

    with pytest.raises(TimeoutError):
        await work()


async def test_the_deadlines_of_others_pass() -> None:
    with pytest.raises(TimeoutError, match="theirs"):
        async with within(5, "ours"):
            raise TimeoutError("theirs")
