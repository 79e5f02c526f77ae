"""The retries Dapr has of its own accord, and what a resource may change about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dapr_common.observe.logs import get_logger
from dapr_common.resiliency.policies import RetryPolicy

SERVICE = "DaprBuiltInServiceRetries"
ACTOR = "DaprBuiltInActorRetries"
ACTOR_REMINDER = "DaprBuiltInActorReminderRetries"
INITIALIZATION = "DaprBuiltInInitializationRetries"
ACTOR_NOT_FOUND = "DaprBuiltInActorNotFoundRetries"

_MIN_RETRIES = 3
_LOG = get_logger("dapr.runtime.resiliency")

BUILT_IN: Mapping[str, RetryPolicy] = {
    policy.name: policy
    for policy in (
        RetryPolicy(SERVICE, "constant", 1.0, max_retries=3),
        RetryPolicy(ACTOR, "constant", 1.0, max_retries=3),
        RetryPolicy(ACTOR_REMINDER, "exponential", max_interval=60.0, max_retries=0),
        RetryPolicy(
            INITIALIZATION, "exponential", max_interval=1.0, max_retries=3, max_elapsed=10.0
        ),
        RetryPolicy(ACTOR_NOT_FOUND, "constant", 1.0, max_retries=5),
    )
}


def accepted(policy: RetryPolicy) -> RetryPolicy | None:
    """A resource's retry as it may be used; ``None`` when its name is protected."""
    if policy.name == ACTOR_NOT_FOUND:
        _LOG.warning("Retry policy %s is protected and cannot be replaced", policy.name)
        return None
    if policy.name in BUILT_IN and policy.max_retries < _MIN_RETRIES:
        _LOG.warning(
            "Retry policy %s needs at least %d retries; using %d",
            policy.name,
            _MIN_RETRIES,
            _MIN_RETRIES,
        )
        return replace(policy, max_retries=_MIN_RETRIES)
    return policy
