"""The subscriptions an app declares itself, asked of it once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from google.protobuf import empty_pb2

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.http.messages import Header
from dapr_common.kube.resources import BulkSubscribe, Rule, Subscription
from dapr_common.match_expressions import RuleError, compile_match
from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.runtime.v1 import appcallback_pb2
from dapr_sidecar.channel.base import GrpcAppChannel, HttpAppChannel
from dapr_sidecar.context import SidecarContext

_LOG = get_logger("dapr.runtime.pubsub.subscription")
_LIST = "/dapr.proto.runtime.v1.AppCallback/ListTopicSubscriptions"
_BUILTIN_RETRY = "DaprBuiltInInitializationRetries"
_CALL_SECONDS = 10.0


async def discover(context: SidecarContext) -> list[Subscription]:
    """Ask the app; whatever goes wrong is logged and means none."""
    channel = context.channel
    if channel is None:
        return []
    runner = context.policies.builtin(_BUILTIN_RETRY)
    try:
        if channel.kind == "http":
            http, app_id = channel, context.identity.app_id
            found = await runner.run(lambda: _ask_http(http, app_id))
        else:
            grpc = channel
            found = await runner.run(lambda: _ask_grpc(grpc))
        for subscription in found:
            for rule in subscription.rules:
                compile_match(rule.match)
    except RuleError as error:
        _LOG.error("the app's subscriptions are not used: %s", error)
        return []
    except Exception as error:  # noqa: BLE001 - Dapr's rule: the sidecar runs without them
        _LOG.error("failed to read the app's subscriptions: %s", error)
        return []
    return found


async def _ask_http(channel: HttpAppChannel, app_id: str) -> list[Subscription]:
    headers: list[Header] = [
        (b"Content-Type", b"application/json"),
        (b"Dapr-App-Id", app_id.encode()),
    ]
    response = await channel.request("GET", b"/dapr/subscribe", headers)
    body = await response.read()
    if response.status == 404:
        return []
    if response.status != 200:
        _LOG.error("app returned http status code %d from /dapr/subscribe", response.status)
        return []
    if not body.strip():
        return []
    try:
        return parse_subscriptions(body)
    except ValueError as error:
        _LOG.error("the answer to /dapr/subscribe is not what it must be: %s", error)
        return []


async def _ask_grpc(channel: GrpcAppChannel) -> list[Subscription]:
    try:
        response = await channel.unary(
            _LIST,
            empty_pb2.Empty(),
            appcallback_pb2.ListTopicSubscriptionsResponse,
            timeout=_CALL_SECONDS,
        )
    except RpcError as error:
        if error.code == GrpcCode.UNIMPLEMENTED:
            return []
        raise
    assert isinstance(response, appcallback_pb2.ListTopicSubscriptionsResponse)
    return [_from_proto(entry) for entry in response.subscriptions]


def _from_proto(entry: appcallback_pb2.TopicSubscription) -> Subscription:
    bulk = entry.bulk_subscribe
    return Subscription(
        pubsub_name=entry.pubsub_name,
        topic=entry.topic,
        rules=tuple(Rule(rule.match, rule.path) for rule in entry.routes.rules),
        default_route=entry.routes.default,
        metadata=dict(entry.metadata),
        dead_letter_topic=entry.dead_letter_topic,
        bulk=BulkSubscribe(bulk.enabled, bulk.max_messages_count, bulk.max_await_duration_ms),
    )


def parse_subscriptions(body: bytes) -> list[Subscription]:
    """Read the answer to ``/dapr/subscribe``. Raises ``ValueError``."""
    entries = orjson.loads(body)
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise ValueError("expected a JSON array")
    found = []
    for entry in entries:
        subscription = _from_json(_Members(entry))
        if not subscription.rules and not subscription.default_route:
            _LOG.warning("subscription to topic %s has no route", subscription.topic)
            continue
        found.append(subscription)
    return found


class _Members:
    """A JSON object whose names ignore case. Raises ``ValueError`` for other types."""

    def __init__(self, value: object) -> None:
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise ValueError("expected a JSON object")
        self._members: Mapping[str, Any] = {name.lower(): member for name, member in value.items()}

    def _get(self, name: str, kind: type[Any], default: Any) -> Any:
        value = self._members.get(name.lower())
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"'{name}' has the wrong type")
        return value

    def text(self, name: str) -> str:
        text: str = self._get(name, str, "")
        return text

    def number(self, name: str) -> int:
        number: int = self._get(name, int, 0)
        return number

    def flag(self, name: str) -> bool:
        return bool(self._get(name, bool, False))

    def items(self, name: str) -> list[_Members]:
        return [_Members(item) for item in self._get(name, list, [])]

    def object(self, name: str) -> _Members:
        return _Members(self._get(name, dict, {}))

    def texts(self, name: str) -> dict[str, str]:
        texts = self._get(name, dict, {})
        texts = {key: "" if value is None else value for key, value in texts.items()}
        if not all(isinstance(value, str) for value in texts.values()):
            raise ValueError(f"'{name}' must hold text only")
        return texts


def _from_json(entry: _Members) -> Subscription:
    routes, bulk = entry.object("routes"), entry.object("bulkSubscribe")
    return Subscription(
        pubsub_name=entry.text("pubsubname"),
        topic=entry.text("topic"),
        rules=tuple(Rule(rule.text("match"), rule.text("path")) for rule in routes.items("rules")),
        default_route=routes.text("default") or entry.text("route"),
        metadata=entry.texts("metadata"),
        dead_letter_topic=entry.text("deadLetterTopic"),
        bulk=BulkSubscribe(
            bulk.flag("enabled"),
            bulk.number("maxMessagesCount"),
            bulk.number("maxAwaitDurationMs"),
        ),
    )
