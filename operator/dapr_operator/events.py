"""Kubernetes events: what went wrong with an object, where people look for it."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

from dapr_common.kube.api_errors import KubeError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import KubeObject
from dapr_common.observe.logs import get_logger
from dapr_operator.kinds import EVENTS

_LOG = get_logger("dapr.operator.events")
_MOST_QUEUED = 100
_MOST_REMEMBERED = 1000
_QUIET_SECONDS = 600.0
_PAUSE_SECONDS = 0.05
_MOST_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class About:
    """The object an event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Event:
    """``reason`` is a word for programs, ``message`` a sentence for people."""

    about: About
    reason: str
    message: str


class EventRecorder:
    """Writes warnings. The same of the same object is said once in ten minutes.

    Events are a courtesy: when there are too many, or they may not be written, they stay away.
    """

    def __init__(self, client: KubeClient, instance: str) -> None:
        self._client = client
        self._instance = instance
        self._queue: asyncio.Queue[Event] = asyncio.Queue(_MOST_QUEUED)
        self._said: OrderedDict[Event, float] = OrderedDict()
        self._refused = False

    def warn(self, about: About, reason: str, message: str) -> bool:
        """Write an event soon. Returns whether it had not been said lately."""
        event = Event(about, reason, message)
        now = asyncio.get_running_loop().time()
        if now - self._said.get(event, -_QUIET_SECONDS) < _QUIET_SECONDS:
            return False
        self._said[event] = now
        self._said.move_to_end(event)
        if len(self._said) > _MOST_REMEMBERED:
            self._said.popitem(last=False)
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(event)
        return True

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._client.create(EVENTS, self._body(event), event.about.namespace)
                self._refused = False
            except NotFoundError:
                pass  # its namespace is gone
            except KubeError as error:
                if not self._refused:
                    _LOG.warning("Events cannot be written: %s", error)
                self._refused = True
            await asyncio.sleep(_PAUSE_SECONDS)

    def _body(self, event: Event) -> KubeObject:
        about = event.about
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{about.name[:200]}.{secrets.token_hex(8)}",
                "namespace": about.namespace,
            },
            "involvedObject": {
                "apiVersion": about.api_version,
                "kind": about.kind,
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
            },
            "reason": event.reason,
            "message": event.message[:_MOST_MESSAGE],
            "type": "Warning",
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": "dapr-operator"},
            "reportingComponent": "dapr-operator",
            "reportingInstance": self._instance,
        }
