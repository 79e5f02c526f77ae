"""How declared subscriptions fare, as far as that can be seen from outside the broker."""

from __future__ import annotations

from collections.abc import Container, Sequence

from dapr_common.kube.resources import Subscription
from dapr_sidecar.runtime.statuses import StatusBook

_KIND = "Subscription"


def take_down(
    declared: Sequence[Subscription], brokers: Container[str], statuses: StatusBook
) -> None:
    """A subscription is loaded when there is the component it is for."""
    statuses.keep(_KIND, [subscription.name for subscription in declared])
    for subscription in declared:
        if not subscription.name:
            continue
        if subscription.pubsub_name in brokers:
            statuses.set(_KIND, subscription.name, "loaded")
        else:
            text = f"waits: pubsub component '{subscription.pubsub_name}' is not loaded"
            statuses.set(_KIND, subscription.name, "pending", text)
