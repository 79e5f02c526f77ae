"""Events to an HTTP app."""

from __future__ import annotations

from urllib.parse import quote

import orjson

from dapr_common.http.headers import HOP_BY_HOP, canonical, safe_value
from dapr_common.http.messages import Header
from dapr_common.observe.tracing import NO_TRACEPARENT
from dapr_sidecar.blocks.pubsub.event import Event
from dapr_sidecar.blocks.pubsub.verdict import RetryRequestedError, Verdict
from dapr_sidecar.channel.base import HttpAppChannel
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.resiliency.base import CodedError

_EVENT_TYPE: Header = (b"Content-Type", b"application/cloudevents+json")
_BINARY_TYPE: Header = (b"Content-Type", b"application/octet-stream")
_TRACEPARENT = b"Traceparent"
_NO_TRACE: Header = (_TRACEPARENT, NO_TRACEPARENT.encode())
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_OWN = frozenset(
    {b"content-type", b"content-length", b"pubsubname", b"traceparent", b"host", *HOP_BY_HOP}
)
_PATH_SAFE = "/:?#[]@!$&'()*+,;=%-._~|"


class NoChannelError(Exception):
    """The sidecar has no app to deliver to."""

    def __init__(self) -> None:
        super().__init__("the app channel is not available")


def target_of(path: str) -> bytes:
    """The request target of a route."""
    if not path.startswith("/"):
        path = "/" + path
    return quote(path, safe=_PATH_SAFE).encode()


def metadata_headers(event: Event) -> list[Header]:
    """Message metadata as headers; names no header can have are left out."""
    headers: list[Header] = []
    for name, value in event.metadata.items():
        raw = name.encode("utf-8", "replace")
        if raw and raw.lower() not in _OWN and _TOKEN.issuperset(raw):
            headers.append((canonical(raw), safe_value(value.encode("utf-8", "replace"))))
    return headers


def http_channel(context: SidecarContext) -> HttpAppChannel:
    """The channel to an HTTP app. Raises ``NoChannelError``."""
    channel = context.channel
    if channel is None or channel.kind != "http":
        raise NoChannelError
    return channel


class HttpSender:
    """Sends single events to an HTTP app."""

    def __init__(self, context: SidecarContext, pubsub: str) -> None:
        self._context = context
        self._name: Header = (b"Pubsubname", safe_value(pubsub.encode()))
        self._targets: dict[str, bytes] = {}

    async def send(self, event: Event, path: str) -> Verdict:
        """POST the event; the answer's status and body are the verdict."""
        target = self._targets.get(path)
        if target is None:
            target = self._targets[path] = target_of(path)
        headers = [_BINARY_TYPE if event.binary else _EVENT_TYPE, self._name, _trace(event)]
        if len(event.metadata) > 1:
            headers += metadata_headers(event)
        channel = http_channel(self._context)
        response = await channel.request("POST", target, headers, event.body)
        body = await response.read()
        return verdict_of(response.status, body)


def _trace(event: Event) -> Header:
    span = event.span
    return _NO_TRACE if span is None else (_TRACEPARENT, span.context.traceparent.encode())


def verdict_of(status: int, body: bytes) -> Verdict:
    """Dapr's reading of an app's answer. Raises when the event is to be retried."""
    if 200 <= status < 300:
        word = _status_word(body) if body else ""
        if word in ("", "SUCCESS"):
            return Verdict.SUCCESS
        if word == "DROP":
            return Verdict.DROP
        if word == "RETRY":
            raise RetryRequestedError("RETRY required while processing the event")
        raise RetryRequestedError(f"unknown status returned from app: {word}")
    if status == 404:
        return Verdict.DROP
    raise CodedError(status, f"retriable error returned from app, status code {status}")


def _status_word(body: bytes) -> str:
    try:
        answer = orjson.loads(body)
    except ValueError:
        return ""
    if not isinstance(answer, dict):
        return ""
    word = answer.get("status")
    if word is None:
        word = next((v for k, v in answer.items() if k.lower() == "status"), "")
    return word if isinstance(word, str) else ""
