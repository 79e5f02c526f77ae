"""What one container writes, line by line, however often the stream of its log breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime

from dapr_cli.kube.pod_log import pod_log
from dapr_cli.kube.runs.manifests import NAMESPACE
from dapr_common.kube.api_errors import KubeError, NotFoundError
from dapr_common.kube.login import Login

_PAUSE_SECONDS = 1.0
_LONGEST_PIECE_BYTES = 64 << 10
_NANO_DIGITS = 9
Moment = tuple[datetime, str]
"""When a line was written: to the microsecond, and the fraction with every digit."""


class ContainerLog:
    """The log of a container. A line is passed on once, also after the stream was begun anew."""

    def __init__(self, login: Login, pod: str, container: str, write: Callable[[bytes], None]):
        self._login = login
        self._pod = pod
        self._container = container
        self._write = write
        self._last: Moment | None = None

    async def follow(self, is_over: Callable[[], bool]) -> None:
        """Pass on until the pod is gone or over. Raises ``OSError`` when ``write`` cannot."""
        while True:
            over = is_over()  # a stream that is begun after the end has everything
            try:
                await self._pass_on()
            except NotFoundError:
                return
            except KubeError:  # not started yet, or its node cannot be asked: it may come
                pass
            if over:
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _pass_on(self) -> None:
        since = self._last[0].strftime("%Y-%m-%dT%H:%M:%SZ") if self._last else ""
        chunks = pod_log(
            self._login, NAMESPACE, self._pod, self._container, follow=True, since=since
        )
        is_new = begun = False
        async with aclosing(_pieces(chunks)) as pieces:
            async for piece in pieces:
                if not begun:
                    stamp, _, text = piece.partition(b" ")
                    is_new = self._is_new(stamp)
                else:
                    text = piece
                if is_new:
                    self._write(text)
                begun = not piece.endswith(b"\n")

    def _is_new(self, stamp: bytes) -> bool:
        moment = _moment(stamp)
        if moment is None:
            return False  # the kubelet's own words, which come again with every stream
        if self._last is not None and moment <= self._last:
            return False
        self._last = moment
        return True


async def _pieces(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Lines with their ends; a very long one comes in pieces. What is left gets an end."""
    rest = b""
    async with aclosing(chunks):
        async for chunk in chunks:
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line + b"\n"
            if len(rest) > _LONGEST_PIECE_BYTES:
                yield rest
                rest = b""
    if rest:
        yield rest + b"\n"


def _moment(stamp: bytes) -> Moment | None:
    """``None`` for what is no time."""
    try:
        when = datetime.fromisoformat(stamp.decode())
    except ValueError:
        return None
    if when.tzinfo is None:
        return None
    fraction = stamp.partition(b".")[2][:_NANO_DIGITS].decode()
    digits = "".join(one for one in fraction if one.isdigit())
    return when.astimezone(UTC), digits.ljust(_NANO_DIGITS, "0")
