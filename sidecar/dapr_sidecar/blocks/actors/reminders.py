"""What the reminder API means, wherever reminders are kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from dapr_common.errors import DaprError
from dapr_sidecar.blocks.actors import state_errors
from dapr_sidecar.blocks.actors.base import ActorRef, Ownership
from dapr_sidecar.blocks.actors.names import (
    check_actor,
    check_name,
    check_not_empty,
    check_not_reserved,
)
from dapr_sidecar.blocks.actors.reminder import ReminderRequest, ReminderView
from dapr_sidecar.blocks.actors.reminder_edits import AlreadyExistsError

T = TypeVar("T")


class ReminderKeeper(Protocol):
    """Where reminders are kept. Calls raise whatever goes wrong, ``DaprError`` included."""

    def check(self) -> None:
        """Raise ``DaprError`` when reminders cannot be kept at all."""
        ...

    async def create(self, request: ReminderRequest) -> None:
        """Raises ``AlreadyExistsError`` too."""
        ...

    async def get(self, ref: ActorRef, name: str) -> ReminderView | None: ...

    async def delete(self, ref: ActorRef, name: str) -> None: ...

    async def delete_all(self, actor_type: str, actor_id: str | None) -> None: ...

    async def list(self, actor_type: str, actor_id: str | None) -> list[ReminderView]: ...


class Reminders:
    """Every call raises ``DaprError``."""

    def __init__(self, keeper: ReminderKeeper, ownership: Ownership) -> None:
        self._keeper = keeper
        self._ownership = ownership

    async def create(self, request: ReminderRequest) -> None:
        """Store a reminder; it fires on the sidecar that owns the actor."""
        self._check_one(request.ref, request.name)
        check_not_empty(request.ref, request.name)
        try:
            await self._keeper.create(request)
        except AlreadyExistsError as error:
            raise state_errors.reminder_exists(request.name) from error
        except Exception as error:
            raise _failed(error, state_errors.reminder_create) from error

    async def get(self, ref: ActorRef, name: str) -> ReminderView:
        """One reminder."""
        self._check_one(ref, name)
        found = await _told(self._keeper.get(ref, name), state_errors.reminder_get)
        if found is None:
            raise state_errors.reminder_not_found(name)
        return found

    async def delete(self, ref: ActorRef, name: str) -> None:
        """Delete one; a missing one is fine."""
        self._check_one(ref, name)
        await _told(self._keeper.delete(ref, name), state_errors.reminder_delete)

    async def delete_all(self, actor_type: str, actor_id: str | None) -> None:
        """Delete every reminder of an actor, or of the type."""
        self._check_all(actor_type, actor_id)
        await _told(self._keeper.delete_all(actor_type, actor_id), state_errors.reminder_delete)

    async def list(self, actor_type: str, actor_id: str | None) -> list[ReminderView]:
        """Every reminder of an actor, or of the type."""
        self._check_all(actor_type, actor_id)
        return await _told(self._keeper.list(actor_type, actor_id), state_errors.reminder_get)

    def _check_one(self, ref: ActorRef, name: str) -> None:
        self._check(ref.type)
        check_actor(ref)
        check_name("name", name)

    def _check_all(self, actor_type: str, actor_id: str | None) -> None:
        self._check(actor_type)
        check_actor(ActorRef(actor_type, actor_id or ""))

    def _check(self, actor_type: str) -> None:
        check_not_reserved(actor_type)
        self._keeper.check()
        if actor_type not in self._ownership.hosted:
            raise state_errors.reminder_not_hosted()


async def _told(work: Awaitable[T], wrap: Callable[[object], DaprError]) -> T:
    try:
        return await work
    except Exception as error:
        raise _failed(error, wrap) from error


def _failed(error: Exception, wrap: Callable[[object], DaprError]) -> DaprError:
    return error if isinstance(error, DaprError) else wrap(error)
