"""``kind: Resiliency``."""

from __future__ import annotations

from dapr_common.kube.schema import parts
from dapr_common.kube.schema.fields import Field, integer, mapping, record, required, text
from dapr_common.kube.schema.resource import AGE, SCOPES, CustomResource, Version
from dapr_common.kube.schema.status import READY, STATUS

_RETRY = record(
    "How often and when a failed call is made again.",
    policy=text("constant or exponential."),
    duration=text("Wait between attempts of a constant retry, as a Go duration; 5s when empty."),
    maxInterval=text("Longest wait of an exponential retry, as a Go duration; 60s when empty."),
    maxRetries=integer("Attempts after the first; -1 is without end."),
    matching=record(
        "Retry only failures with these codes.",
        httpStatusCodes=text("HTTP status codes and ranges, such as 429,500-599."),
        gRPCStatusCodes=text("gRPC status codes and ranges, such as 1-4,14."),
    ),
)

_BREAKER = record(
    "When calls are refused because earlier ones failed.",
    maxRequests=integer("Calls let through while half open; 1 when empty."),
    interval=text("How often the counts start again, as a Go duration; never when empty."),
    timeout=text("How long it stays open, as a Go duration; 60s when empty."),
    trip=text("CEL expression over the counts that opens it, such as consecutiveFailures > 5."),
)

_POLICIES = record(
    "Policies by name.",
    timeouts=mapping("How long one attempt may take, as Go durations.", text()),
    retries=mapping("Retries.", _RETRY),
    circuitBreakers=mapping("Circuit breakers.", _BREAKER),
)


def _uses(description: str, **more: Field) -> Field:
    """The policies of one target, by their names."""
    return record(
        description,
        timeout=text("Name of a timeout."),
        retry=text("Name of a retry."),
        circuitBreaker=text("Name of a circuit breaker."),
        **more,
    )


_CACHE = integer("Most circuit breakers kept for this target.")

_TARGETS = record(
    "What the policies apply to.",
    apps=mapping(
        "Calls of apps, by app id.",
        _uses("Policies of an app.", circuitBreakerCacheSize=_CACHE),
    ),
    actors=mapping(
        "Calls of actors, by actor type.",
        _uses(
            "Policies of an actor type.",
            circuitBreakerScope=text("What shares a circuit breaker: type, id or both."),
            circuitBreakerCacheSize=_CACHE,
        ),
    ),
    components=mapping(
        "Calls to and from components, by component name.",
        record(
            "Policies of a component.",
            outbound=_uses("Calls of the sidecar to the component."),
            inbound=_uses("Deliveries of the component to the app."),
        ),
    ),
)

_SPEC = record(
    "Policies and what they apply to.",
    policies=required(_POLICIES),
    targets=required(_TARGETS),
)

RESILIENCY = CustomResource(
    kind="Resiliency",
    plural="resiliencies",
    versions=(
        Version(
            "v1alpha1",
            "Timeouts, retries and circuit breakers of calls.",
            {
                "metadata": parts.METADATA,
                "spec": _SPEC,
                "scopes": parts.SCOPES,
                "status": STATUS,
            },
            (READY, SCOPES, AGE),
        ),
    ),
)
