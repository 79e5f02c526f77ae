"""Policies when no Resiliency resource exists: only the built-in retries."""

from __future__ import annotations

from dapr_sidecar.resiliency.policy import LoadedPolicies


class NoPolicies(LoadedPolicies):
    """Implements ``Policies`` with nothing but the built-in retries."""
