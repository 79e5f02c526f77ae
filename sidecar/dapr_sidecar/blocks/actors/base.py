"""What the parts of the actor runtime say to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from dapr_common.http.messages import Header

SEPARATOR = "||"


@dataclass(frozen=True, slots=True, order=True)
class ActorRef:
    """One actor: its type and its id."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}{SEPARATOR}{self.id}"


@dataclass(slots=True)
class ActorCall:
    """A method call on its way to an actor. ``headers`` have lower-case names."""

    ref: ActorRef
    method: str
    body: bytes = b""
    content_type: str = ""
    query: str = ""
    headers: Sequence[Header] = ()
    from_grpc: bool = False
    remote: bool = False
    """Whether it came from another sidecar."""


@dataclass(slots=True)
class ActorAnswer:
    """What the actor answered. ``headers`` have lower-case names."""

    status: int
    headers: Sequence[Header]
    content_type: str
    body: bytes
    app_error: bool = False
    """The app marked it as an error of its own, which reaches the caller unchanged."""


@dataclass(frozen=True, slots=True)
class Callback:
    """A reminder or a timer that is due. ``data`` is raw JSON; times as the user wrote them."""

    ref: ActorRef
    name: str
    kind: Literal["reminder", "timer"]
    data: bytes | None = None
    due_time: str = ""
    period: str = ""
    callback: str = ""
    """Of a timer: the method's name, for the app to read."""


class ActorApp(Protocol):
    """The application's side of its actors, over HTTP or over the stream it opened."""

    async def invoke(self, call: ActorCall) -> ActorAnswer:
        """Call a method. Raises ``DaprError`` for anything but success or an app error."""
        ...

    async def fire(self, callback: Callback) -> bool:
        """Deliver a reminder or timer. Returns whether the app wants no more of it."""
        ...

    async def deactivate(self, ref: ActorRef) -> None:
        """Tell the app that the actor's object can go."""
        ...


class ActorRouter(Protocol):
    """Takes calls to wherever the actor is, in its turn. Raises ``DaprError``."""

    async def invoke(self, call: ActorCall) -> ActorAnswer: ...

    async def fire(self, callback: Callback) -> bool:
        """Returns whether the app cancelled the reminder or timer."""
        ...


@dataclass(frozen=True, slots=True)
class Owner:
    """The sidecar an actor belongs to. ``address`` is ``host:port`` of its internal API."""

    address: str
    app_id: str
    local: bool


class OwnershipListener(Protocol):
    """Who must know when actors move."""

    async def leaving(self, types: frozenset[str]) -> None:
        """The tables of these types change: nothing of them may be fired until ``settled``.

        Called before the change is acknowledged, or because placement was lost; returns once
        nothing is being written any more on behalf of an ownership that ends.
        """
        ...

    def settled(self, types: frozenset[str]) -> None:
        """The new tables of these types are in force everywhere."""
        ...


class Ownership(Protocol):
    """Which actors are this sidecar's, as placement says."""

    @property
    def hosted(self) -> frozenset[str]:
        """Types the app hosts here and that placement was told of."""
        ...

    def owner(self, ref: ActorRef) -> Owner | None:
        """Whose it is; ``None`` when no table has its type. Pure lookup, never waits."""
        ...

    def is_mine(self, ref: ActorRef) -> bool:
        """Whether a turn may begin here right now.

        False while its type moves, and as soon as placement has not been heard of for so long
        that it may have given the actor to somebody else.
        """
        ...

    def holds(self, ref: ActorRef) -> bool:
        """Whether a turn that runs here may still write.

        As ``is_mine``, and also while its type is drained before the actor may move.
        """
        ...

    async def wait_settled(self, actor_type: str) -> None:
        """Return when the type is not moving, at once in the usual case."""
        ...

    def listen(self, listener: OwnershipListener, *, last: bool = False) -> None:
        """Tell this one; ``last``: that types leave once the others have let go of them."""
        ...


class ActiveActors(Protocol):
    """The instances that live on this sidecar."""

    def is_active(self, ref: ActorRef) -> bool:
        """Whether it was called since its activation; true until its deactivation is over."""
        ...


@dataclass(frozen=True, slots=True)
class Reentrancy:
    """Whether a call may enter an actor it came from, and how deep."""

    enabled: bool = False
    max_stack_depth: int = 32


@dataclass(frozen=True, slots=True)
class TypeSettings:
    """How one actor type is hosted; times in seconds."""

    idle_timeout: float = 3600.0
    drain_timeout: float = 2.0
    drain_rebalanced: bool = True
    reentrancy: Reentrancy = field(default_factory=Reentrancy)
    reminder_partitions: int = 0
    """How many records of the store its reminders are spread over; 0 is one, unnumbered."""


SettingsOf = Callable[[str], TypeSettings | None]
"""The settings of a type the app hosts here; ``None`` for any other."""
