"""What policies tell the outside about themselves."""

from __future__ import annotations

from typing import Literal, Protocol

PolicyKind = Literal["timeout", "retry", "circuitbreaker"]
Flow = Literal["outbound", "inbound"]


class Report(Protocol):
    """Counts; ``target`` is such as ``app_orders`` or ``Statestore_st``."""

    def loaded(self, name: str, namespace: str) -> None:
        """A resource was loaded; later counts carry the name of the last one."""

    def executed(self, policy: PolicyKind, flow: Flow, target: str, status: str = "") -> None:
        """A policy was looked up for a call."""

    def activated(self, policy: PolicyKind, flow: Flow, target: str, status: str = "") -> None:
        """A policy took effect."""

    def breaker_state(self, flow: Flow, target: str, status: str) -> None:
        """A circuit breaker has this state now."""


class NoReport:
    """Implements ``Report`` by keeping quiet."""

    def loaded(self, name: str, namespace: str) -> None:
        pass

    def executed(self, policy: PolicyKind, flow: Flow, target: str, status: str = "") -> None:
        pass

    def activated(self, policy: PolicyKind, flow: Flow, target: str, status: str = "") -> None:
        pass

    def breaker_state(self, flow: Flow, target: str, status: str) -> None:
        pass
