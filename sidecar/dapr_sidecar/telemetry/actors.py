"""Metrics of the actor runtime."""

from __future__ import annotations

from dapr_common.observe.metrics import Registry

_PREFIX = "dapr_runtime_actor_"
_TYPE = ("actor_type",)
_TEXT = {True: "true", False: "false"}


class ActorMetrics:
    """Counts by actor type."""

    def __init__(self, registry: Registry) -> None:
        operation = ("actor_type", "operation")
        fired = ("actor_type", "success")
        self._reported = registry.counter(f"{_PREFIX}status_report_total", operation)
        self._report_failed = registry.counter(
            f"{_PREFIX}status_report_fail_total", (*operation, "reason")
        )
        self._table = registry.counter(f"{_PREFIX}table_operation_recv_total", operation)
        self._rebalanced = registry.counter(f"{_PREFIX}rebalanced_total", _TYPE)
        self._deactivated = registry.counter(f"{_PREFIX}deactivated_total", _TYPE)
        self._deactivation_failed = registry.counter(f"{_PREFIX}deactivated_failed_total", _TYPE)
        self._pending = registry.gauge(f"{_PREFIX}pending_actor_calls", _TYPE)
        self._timers = registry.gauge(f"{_PREFIX}timers", _TYPE)
        self._reminders = registry.gauge(f"{_PREFIX}reminders", _TYPE)
        self._reminders_fired = registry.counter(f"{_PREFIX}reminders_fired_total", fired)
        self._timers_fired = registry.counter(f"{_PREFIX}timers_fired_total", fired)

    def status_reported(self, actor_type: str, operation: str) -> None:
        self._reported.at(actor_type, operation).add()

    def status_report_failed(self, actor_type: str, operation: str, reason: str) -> None:
        self._report_failed.at(actor_type, operation, reason).add()

    def table_operation(self, actor_type: str, operation: str) -> None:
        """``operation`` is lock, update or unlock."""
        self._table.at(actor_type, operation).add()

    def rebalanced(self, actor_type: str) -> None:
        self._rebalanced.at(actor_type).add()

    def deactivated(self, actor_type: str, success: bool) -> None:
        (self._deactivated if success else self._deactivation_failed).at(actor_type).add()

    def pending_calls(self, actor_type: str, change: int) -> None:
        """``change`` is +1 when a call queues for the lock and -1 when it got it."""
        self._pending.at(actor_type).value += change

    def timers(self, actor_type: str, count: int) -> None:
        self._timers.at(actor_type).set(count)

    def reminders(self, actor_type: str, count: int) -> None:
        self._reminders.at(actor_type).set(count)

    def reminder_fired(self, actor_type: str, success: bool) -> None:
        self._reminders_fired.at(actor_type, _TEXT[success]).add()

    def timer_fired(self, actor_type: str, success: bool) -> None:
        self._timers_fired.at(actor_type, _TEXT[success]).add()
