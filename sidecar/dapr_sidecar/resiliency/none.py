"""Policies when no Resiliency resource exists: every call is made once, as it is."""

from __future__ import annotations

from dapr_sidecar.resiliency.base import Operation, Runner, T


class _Once:
    """Runs an operation one time."""

    retries = False

    async def run(self, operation: Operation[T]) -> T:
        return await operation()


class NoPolicies:
    """Implements ``Policies`` without any."""

    def component_outbound(self, name: str, kind: str) -> Runner | None:
        return None

    def component_inbound(self, name: str, kind: str) -> Runner | None:
        return None

    def app(self, app_id: str, endpoint: str) -> Runner | None:
        return None

    def has_app_target(self, app_id: str) -> bool:
        return False

    def builtin(self, name: str) -> Runner:
        return _Once()

    def actor_pre_lock(self, actor_type: str, actor_id: str) -> Runner | None:
        return None

    def actor_post_lock(self, actor_type: str, actor_id: str) -> Runner | None:
        return None
