"""The actors of ``actors_app.py``, and their interfaces as ``actors_client.py`` calls them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from datetime import timedelta
from typing import Any

from dapr.actor import Actor, ActorInterface, ActorProxy, Remindable, actormethod
from dapr.actor.id import ActorId
from dapr.actor.runtime.config import ActorReentrancyConfig, ActorRuntimeConfig, ActorTypeConfig
from dapr.actor.runtime.context import ActorRuntimeContext
from dapr.actor.runtime.failure_policy import ActorReminderFailurePolicy

_LOCK = threading.Lock()
_POLICIES = {
    "drop": ActorReminderFailurePolicy.drop_policy(),
    "once more": ActorReminderFailurePolicy.constant_policy(timedelta(milliseconds=100), 1),
}


def report(**seen: Any) -> None:
    with _LOCK:
        sys.stdout.write(json.dumps(seen, default=str) + "\n")
        sys.stdout.flush()


def duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def proxy(actor_type: str, actor_id: str) -> ActorProxy:
    return ActorProxy.create(actor_type, ActorId(actor_id), INTERFACES[actor_type])


class LedgerInterface(ActorInterface):
    """State, timers, reminders and errors."""

    @actormethod(name="Where")
    async def where(self) -> object: ...

    @actormethod(name="Echo")
    async def echo(self, data: object) -> object: ...

    @actormethod(name="Put")
    async def put(self, data: object) -> object: ...

    @actormethod(name="Get")
    async def get(self, key: object) -> object: ...

    @actormethod(name="Remove")
    async def remove(self, key: object) -> object: ...

    @actormethod(name="Fail")
    async def fail(self, message: object) -> object: ...

    @actormethod(name="Add")
    async def add(self, amount: object) -> object: ...

    @actormethod(name="StartTimer")
    async def start_timer(self, data: object) -> object: ...

    @actormethod(name="Remind")
    async def remind(self, data: object) -> object: ...

    @actormethod(name="Forget")
    async def forget(self, name: object) -> object: ...


class Ledger(Actor, LedgerInterface, Remindable):
    """Reports when it comes and goes, and what fires."""

    def __init__(self, ctx: ActorRuntimeContext, actor_id: ActorId) -> None:
        super().__init__(ctx, actor_id)
        self.fired = 0
        self.running = 0

    async def _on_activate(self) -> None:
        report(event="activate", actor=self.id.id)
        await self._state_manager.get_or_add_state("born", os.environ["APP_NAME"])

    async def _on_deactivate(self) -> None:
        report(event="deactivate", actor=self.id.id)

    async def where(self) -> object:
        return os.environ["APP_NAME"]

    async def echo(self, data: object) -> object:
        return {"echo": data, "id": self.id.id}

    async def put(self, data: Any) -> object:
        await self._state_manager.set_state_ttl(data["key"], data["value"], data.get("ttl"))
        if data.get("save"):
            await self._state_manager.save_state()
        return sorted(await self._state_manager.get_state_names())

    async def get(self, key: Any) -> object:
        found, value = await self._state_manager.try_get_state(key)
        return {"found": found, "value": value}

    async def remove(self, key: Any) -> object:
        return await self._state_manager.try_remove_state(key)

    async def fail(self, message: object) -> object:
        raise ValueError(message)

    async def add(self, amount: Any) -> object:
        self.running += 1
        together = self.running
        value = await self._state_manager.get_or_add_state("sum", 0)
        await asyncio.sleep(0.05)  # so that a second turn would see the old sum
        await self._state_manager.set_state("sum", value + amount)
        self.running -= 1
        return together

    async def start_timer(self, data: Any) -> object:
        callback = self.tick_until if "until" in data else self.tick
        due, period = duration(data["due"]), duration(data.get("period"))
        await self.register_timer(data["name"], callback, data.get("data"), due, period)  # type: ignore[arg-type]
        return None

    async def tick(self, data: Any) -> None:
        report(event="timer", actor=self.id.id, data=data)

    async def tick_until(self, data: Any) -> None:
        self.fired += 1
        report(event="timer", actor=self.id.id, data=data, count=self.fired)
        if self.fired == 3:
            await self.unregister_timer("stops")
            report(event="timer stopped", actor=self.id.id)

    async def remind(self, data: Any) -> object:
        await self.register_reminder(
            data["name"],
            data["data"].encode("latin-1"),
            timedelta(seconds=data["due"]),
            duration(data.get("period")),
            duration(data.get("ttl")),
            _POLICIES.get(data.get("policy", "")),
        )
        return None

    async def forget(self, name: Any) -> object:
        await self.unregister_reminder(name)
        return None

    async def receive_reminder(
        self,
        name: str,
        state: bytes,
        due_time: timedelta,
        period: timedelta | None = None,
        ttl: timedelta | None = None,
    ) -> None:
        self.fired += 1
        report(
            event="reminder",
            actor=self.id.id,
            name=name,
            data=state.decode("latin-1"),
            count=self.fired,
        )
        if name.startswith("fails"):
            raise ValueError(name)
        if name == "stops" and self.fired == 2:
            await self.unregister_reminder(name)
            report(event="reminder stopped", actor=self.id.id)


class SleepyInterface(ActorInterface):
    @actormethod(name="Wake")
    async def wake(self) -> object: ...


class Sleepy(Actor, SleepyInterface):
    """Its type is idle after a second."""

    async def wake(self) -> object:
        return "awake"

    async def _on_deactivate(self) -> None:
        report(event="deactivate", actor=self.id.id)


class CircleInterface(ActorInterface):
    @actormethod(name="Visit")
    async def visit(self, route: object) -> object: ...

    @actormethod(name="Visited")
    async def visited(self) -> object: ...


class Circle(Actor, CircleInterface):
    """Calls the others of a route, one in the other: ``type/id`` each. Its type is reentrant."""

    async def visit(self, route: Any) -> object:
        count = await self._state_manager.get_or_add_state("visits", 0)
        await self._state_manager.set_state("visits", count + 1)
        await self._state_manager.save_state()
        if not route:
            return [self.id.id]
        actor_type, _, actor_id = route[0].partition("/")
        rest = await proxy(actor_type, actor_id).Visit(route[1:])
        if isinstance(rest, dict):  # over its gRPC stream the SDK makes an error an answer
            raise ValueError(rest["message"])
        return [self.id.id, *rest]

    async def visited(self) -> object:
        found, value = await self._state_manager.try_get_state("visits")
        return value if found else 0


INTERFACES: dict[str, type[ActorInterface]] = {
    "Ledger": LedgerInterface,
    "Sleepy": SleepyInterface,
    "Circle": CircleInterface,
}
ACTORS: list[type[Actor]] = [Ledger, Sleepy, Circle]
CONFIG = ActorRuntimeConfig(
    actor_idle_timeout=timedelta(hours=1),
    drain_ongoing_call_timeout=timedelta(seconds=5),
    actor_type_configs=[
        ActorTypeConfig("Sleepy", actor_idle_timeout=timedelta(seconds=1)),
        ActorTypeConfig("Circle", reentrancy=ActorReentrancyConfig(True, 4)),
    ],
)
