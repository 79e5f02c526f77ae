"""Calls the actors of ``actors_app.py`` through the official Python SDK; prints what it saw."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from actors_types import INTERFACES, LedgerInterface, proxy
from dapr.actor import ActorProxy
from dapr.actor.id import ActorId
from dapr.clients.exceptions import DaprInternalError
from sections import run, section


def part(function: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    @functools.wraps(function)
    def call() -> Any:
        return asyncio.run(function())  # type: ignore[arg-type]

    section(call)
    return function


async def outcome(call: Awaitable[Any]) -> Any:
    """What a call gives, or how the SDK presents its failure."""
    try:
        return await call
    except DaprInternalError as error:
        return {"raised": type(error).__name__, "code": error.error_code, "text": error.message}


@part
async def proxies() -> Any:
    ledger = proxy("Ledger", "proxies")
    raw = ActorProxy.create("Ledger", ActorId("an id@with spaces"))
    return {
        "where": await ledger.Where(),
        "value": await ledger.Echo({"n": [1, "é", None]}),
        "raw": (await raw.invoke_method("Echo", b'"raw"')).decode(),
    }


@part
async def state() -> Any:
    ledger = proxy("Ledger", "state")
    seen = {
        "names": await ledger.Put({"key": "a", "value": {"deep": [1, 2]}}),
        "a": await ledger.Get("a"),
        "missing": await ledger.Get("never"),
        "born": await ledger.Get("born"),
    }
    await ledger.Put({"key": "b", "value": "text", "save": True})
    await ledger.Put({"key": "short", "value": 1, "ttl": 2})
    await ledger.Put({"key": "long", "value": 2, "ttl": 600})
    seen["removed"] = [await ledger.Remove("b"), await ledger.Remove("never")]
    seen["b"] = await ledger.Get("b")
    return seen


@part
async def turns() -> Any:
    ledger = proxy("Ledger", "turns")
    together = await asyncio.gather(*(ledger.Add(amount) for amount in range(1, 7)))
    return {"together": max(together), "sum": await ledger.Get("sum")}


@part
async def errors() -> Any:
    ledger = proxy("Ledger", "errors")
    raw = ActorProxy.create("Ledger", ActorId("errors"))
    return {
        "raised": await outcome(ledger.Fail("out of ink")),
        "method": await outcome(raw.invoke_method("Nope")),
        "works": await ledger.Echo(1),
    }


@part
async def unknown_type() -> Any:
    nobody = ActorProxy.create("Nobody", ActorId("1"), LedgerInterface)
    return await outcome(nobody.Where())


@part
async def reentrancy() -> Any:
    assert set(INTERFACES) == {"Ledger", "Sleepy", "Circle"}
    first, second = proxy("Circle", "A"), proxy("Circle", "B")
    seen = {"route": await first.Visit(["Circle/B", "Circle/A", "Circle/B"])}
    seen["visited"] = [await first.Visited(), await second.Visited()]
    seen["too_deep"] = await outcome(proxy("Circle", "deep").Visit(["Circle/deep"] * 5))
    return seen


@part
async def timers() -> Any:
    ledger = proxy("Ledger", "timers")
    await ledger.StartTimer({"name": "once", "due": 0.2, "period": 600, "data": {"t": 1}})
    await ledger.StartTimer({"name": "nothing", "due": 0.1, "period": 600})
    counting = proxy("Ledger", "counting")
    await counting.StartTimer({"name": "stops", "due": 0, "period": 0.2, "data": "x", "until": 3})
    return None


@part
async def reminders() -> Any:
    ledger = proxy("Ledger", "reminders")
    await ledger.Remind({"name": "once", "due": 0.2, "data": "\x00\xffbytes"})
    await ledger.Remind({"name": "empty", "due": 0.1, "data": ""})
    await ledger.Remind({"name": "later", "due": 600, "period": 60, "data": "kept"})
    await ledger.Remind({"name": "gone", "due": 600, "data": "x"})
    await ledger.Forget("gone")
    await ledger.Forget("gone")
    counting = proxy("Ledger", "counted reminders")
    await counting.Remind({"name": "stops", "due": 0, "period": 0.3, "data": "n"})
    for name, policy in (("fails-drop", "drop"), ("fails-again", "once more")):
        failing = proxy("Ledger", name)
        await failing.Remind({"name": name, "due": 0, "data": "", "policy": policy})
    return None


@part
async def idle() -> Any:
    return await proxy("Sleepy", "1").Wake()


if __name__ == "__main__":
    run()
