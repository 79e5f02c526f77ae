"""Events: what happened to an object, where ``kubectl describe`` and ``kubectl get events`` say it.

Telling never waits and never fails whoever tells: what is told again is counted, not repeated, and
what is too much is left out and said in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from dapr_common.kube.api_errors import ForbiddenError, KubeError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import EVENTS, KubeObject
from dapr_common.moments import rfc3339
from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.kube.events")
_MOST_WAITING = 256
_MOST_KNOWN = 1024
_BURST = 25
_SECONDS_EACH = 1.0
_REPEAT_SECONDS = 60.0
_LAST_SECONDS = 2.0
_LONGEST_MESSAGE = 1024  # the API's bound
_LONGEST_NAME = 200  # leaves room for what makes it unique

EventType = Literal["Normal", "Warning"]


@dataclass(frozen=True, slots=True)
class Subject:
    """The object an event is about."""

    api_version: str
    kind: str
    name: str
    namespace: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class _Said:
    subject: Subject
    type: EventType
    reason: str
    message: str


@dataclass(slots=True)
class _Series:
    """How often the same was told, and what the cluster knows of it."""

    count: int = 0
    first: str = ""
    last: str = ""
    waiting: bool = False
    name: str = ""
    written: float = float("-inf")


class EventRecorder:
    """Writes what ``report`` is given; ``run`` until cancelled, it ends with what still waits.

    ``component`` is who speaks. The same thing is one event whose count grows, at most once in
    ``repeat_seconds``; of different ones a burst goes out at once and then one each second.
    """

    def __init__(
        self, client: KubeClient, component: str, *, repeat_seconds: float = _REPEAT_SECONDS
    ) -> None:
        self._client = client
        self._component = component
        self._instance = os.environ.get("POD_NAME") or socket.gethostname()
        self._repeat_seconds = repeat_seconds
        self._series: OrderedDict[_Said, _Series] = OrderedDict()
        self._waiting: asyncio.Queue[_Said] = asyncio.Queue(_MOST_WAITING)
        self._tokens = float(_BURST)
        self._counted = 0.0
        self._left_out = 0
        self._forbidden = False

    def report(
        self, subject: Subject, reason: str, message: str, kind: EventType = "Warning"
    ) -> bool:
        """Tell of something. ``reason`` is one CamelCase word, ``message`` a sentence.

        Returns whether it is news: not told in the last ``repeat_seconds``.
        """
        said = _Said(subject, kind, reason, message[:_LONGEST_MESSAGE])
        series = self._series.setdefault(said, _Series())
        self._series.move_to_end(said)
        series.count += 1
        series.last = _now()
        series.first = series.first or series.last
        loop = asyncio.get_running_loop()
        if series.waiting or loop.time() - series.written < self._repeat_seconds:
            return False
        try:
            self._waiting.put_nowait(said)
            series.waiting = True
        except asyncio.QueueFull:
            self._left_out += 1
        while len(self._series) > _MOST_KNOWN:
            self._series.popitem(last=False)
        return True

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            while True:
                await self._pace()
                await self._write(await self._waiting.get())
                self._say_what_is_left_out()
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    while not self._waiting.empty():
                        await self._write(self._waiting.get_nowait())

    async def _pace(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._tokens = min(self._tokens + (now - self._counted) / _SECONDS_EACH, _BURST)
        self._counted = now
        self._tokens -= 1
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens * _SECONDS_EACH)

    async def _write(self, said: _Said) -> None:
        if (series := self._series.get(said)) is None:
            return
        series.waiting = False
        series.written = asyncio.get_running_loop().time()
        try:
            if not (series.name and await self._counted_up(said, series)):
                made = await self._client.create(
                    EVENTS, self._body(said, series), said.subject.namespace
                )
                series.name = str(made["metadata"]["name"])
        except NotFoundError:
            _LOG.debug("An event is about something in a namespace that is gone: %s", said)
        except ForbiddenError as error:
            if not self._forbidden:
                _LOG.warning("Events are not written, a rule of RBAC is missing: %s", error)
            self._forbidden = True
        except KubeError as error:
            _LOG.warning("An event was not written: %s", error)

    async def _counted_up(self, said: _Said, series: _Series) -> bool:
        """Whether the event is still there: the cluster forgets events after some time."""
        patch = {"count": series.count, "lastTimestamp": series.last}
        try:
            await self._client.patch(EVENTS, series.name, patch, said.subject.namespace)
        except NotFoundError:
            series.count, series.first = 1, series.last
            return False
        return True

    def _body(self, said: _Said, series: _Series) -> KubeObject:
        subject = said.subject
        name = f"{subject.name[:_LONGEST_NAME].rstrip('.-')}.{secrets.token_hex(8)}"
        return {
            "metadata": {"name": name, "namespace": subject.namespace},
            "involvedObject": {
                "apiVersion": subject.api_version,
                "kind": subject.kind,
                "name": subject.name,
                "namespace": subject.namespace,
                "uid": subject.uid,
            },
            "type": said.type,
            "reason": said.reason,
            "message": said.message,
            "count": series.count,
            "firstTimestamp": series.first,
            "lastTimestamp": series.last,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance[:128],
        }

    def _say_what_is_left_out(self) -> None:
        left_out, self._left_out = self._left_out, 0
        if left_out:
            _LOG.warning("%d events were not written: there were too many at a time", left_out)


def _now() -> str:
    return rfc3339(datetime.now(UTC))
