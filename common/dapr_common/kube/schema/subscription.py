"""``kind: Subscription``: one route in v1alpha1, routing rules in v2alpha1."""

from __future__ import annotations

from dapr_common.kube.schema import parts
from dapr_common.kube.schema.fields import (
    Field,
    boolean,
    integer,
    mapping,
    record,
    required,
    sequence,
    text,
)
from dapr_common.kube.schema.resource import AGE, SCOPES, Column, CustomResource, Version
from dapr_common.kube.schema.status import READY, STATUS

_BULK = record(
    "Deliver several messages in one request.",
    enabled=required(boolean("Deliver in bulk.")),
    maxMessagesCount=integer("Most messages of one request.", bits=32),
    maxAwaitDurationMs=integer("Longest wait for a full request, in ms.", bits=32),
)

_ROUTES = record(
    "Paths of the app that messages are delivered to.",
    rules=sequence(
        "Tried in order; the first whose expression is true wins.",
        record(
            "One rule.",
            match=required(text("CEL expression over the CloudEvent, such as event.type == 'a'.")),
            path=required(text("Path of the app.")),
        ),
    ),
    default=text("Path when no rule matches."),
)

_COLUMNS = (
    Column("PubSub", ".spec.pubsubname", "Pub/sub component."),
    Column("Topic", ".spec.topic", "Topic of the component."),
    READY,
    SCOPES,
    AGE,
)

# The operator puts its namespace and its certificate authority in.
_CONVERSION = {
    "strategy": "Webhook",
    "webhook": {
        "clientConfig": {
            "service": {"namespace": "replaceme", "name": "dapr-webhook", "path": "/convert"}
        },
        "conversionReviewVersions": ["v1", "v2alpha1"],
    },
}


def _fields(**route: Field) -> dict[str, Field]:
    spec = record(
        "What is subscribed to and where messages go.",
        pubsubname=required(text("Pub/sub component.")),
        topic=required(text("Topic of the component.")),
        **route,
        deadLetterTopic=text("Topic for messages that cannot be delivered."),
        bulkSubscribe=_BULK,
        metadata=mapping("Settings of the subscription, passed to the component.", text()),
    )
    return {
        "metadata": parts.METADATA,
        "spec": spec,
        "scopes": parts.SCOPES,
        "status": STATUS,
    }


SUBSCRIPTION = CustomResource(
    kind="Subscription",
    plural="subscriptions",
    versions=(
        Version(
            "v1alpha1",
            "Messages of a topic, delivered to one path of an app.",
            _fields(route=required(text("Path of the app that messages are delivered to."))),
            _COLUMNS,
            is_stored=False,
        ),
        Version(
            "v2alpha1",
            "Messages of a topic, delivered to paths of an app by rules.",
            _fields(routes=required(_ROUTES)),
            _COLUMNS,
        ),
    ),
    conversion=_CONVERSION,
)
