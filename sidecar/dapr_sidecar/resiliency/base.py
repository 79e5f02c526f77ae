"""The seam between blocks and resiliency policies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")

Operation = Callable[[], Awaitable[T]]


class CodedError(Exception):
    """A failure with a status a retry policy can match: HTTP 100-599 or gRPC 0-16.

    ``result`` carries what the callee answered (an HTTP response), so that the last answer can be
    handed on when retries are used up.
    """

    def __init__(self, code: int, message: str = "", result: object = None) -> None:
        super().__init__(message or f"status code {code}")
        self.code = code
        self.result = result


class PermanentError(Exception):
    """Never retried; ``__cause__`` is the real failure."""


class AnsweredError(PermanentError):
    """The target is well and refused the call: nothing to retry, no failure for its breaker."""


class CircuitOpenError(PermanentError):
    """The breaker refused the call."""

    def __init__(self, message: str = "circuit breaker is open") -> None:
        super().__init__(message)


class PolicyTimeoutError(Exception):
    """A policy's timeout fired; the text is the one Go callers see."""

    def __init__(self) -> None:
        super().__init__("context deadline exceeded")


class Runner(Protocol):
    """retry( breaker( timeout( operation ) ) ) of one target."""

    retries: bool
    """Whether an operation may run more than once (bodies must then be replayable)."""

    async def run(self, operation: Operation[T]) -> T: ...

    def once(self) -> Runner:
        """The same without retries, for an operation that cannot be repeated."""
        ...


class Policies(Protocol):
    """Finds the runner for a call; ``None`` (the usual case) means: just make the call."""

    def component_outbound(self, name: str, kind: str) -> Runner | None:
        """``kind`` is Statestore, Pubsub, Binding, Secretstore, Configuration, Lock, Crypto."""

    def component_inbound(self, name: str, kind: str) -> Runner | None: ...

    def app(self, app_id: str, endpoint: str) -> Runner | None:
        """``endpoint`` is the breaker's key, such as ``orders:method``."""

    def has_app_target(self, app_id: str) -> bool:
        """Whether the app id has an entry of its own (the built-in service retry is then off)."""

    def has_actor_target(self, actor_type: str) -> bool:
        """Whether the type has an entry of its own (the built-in actor retries are then off)."""

    def builtin(self, name: str) -> Runner:
        """A built-in policy, such as ``DaprBuiltInServiceRetries``."""

    def actor_pre_lock(self, actor_type: str, actor_id: str) -> Runner | None: ...

    def actor_post_lock(self, actor_type: str, actor_id: str) -> Runner | None: ...
