"""The log of a container line by line, also over breaks of its stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from dapr_cli.kube.followed_log import FollowedLog, Piece, pieces
from dapr_cli.kube.pod_log import pod_log
from dapr_common.kube.api_errors import KubeError, UnreachableError
from dapr_common.kube.login import Login
from dapr_dashboard.log_lines import nanoseconds
from dapr_dashboard.model import LogLine, SourceError

_MOST_LINE_BYTES = 64 << 10
_TIME_BYTES = 31  # before a line of a followed log, with the blank
_PAUSE_SECONDS = 1.0
_QUICK_SECONDS = 5.0
_MOST_QUICK = 3


async def pod_lines(
    login: Login, namespace: str, pod: str, container: str, *, last: int, follow: bool
) -> AsyncGenerator[LogLine, None]:
    """The last lines; with ``follow`` also those that come, until the container ends.

    A silent stream is ended by its reader's deadline and begun anew where it was. Raises
    ``SourceError``.
    """
    if follow:
        lines = _followed(FollowedLog(login, namespace, pod, container, last=last))
    else:
        lines = _written(pieces(pod_log(login, namespace, pod, container, lines=last)))
    async with aclosing(lines):
        async for line in lines:
            yield line


async def _written(found: AsyncGenerator[Piece, None]) -> AsyncGenerator[LogLine, None]:
    try:
        async with aclosing(found):
            async for piece in found:
                if piece.begins:
                    line = _text(piece, _MOST_LINE_BYTES)
                    yield LogLine(line, nanoseconds(line))
    except KubeError as error:
        raise SourceError(str(error)) from error


async def _followed(log: FollowedLog) -> AsyncGenerator[LogLine, None]:
    clock = asyncio.get_running_loop()
    quick = 0
    while True:
        begun = clock.time()
        try:
            async with aclosing(log.stream()) as found:
                async for piece in found:
                    if piece.begins:
                        text = _text(piece, _MOST_LINE_BYTES - _TIME_BYTES)
                        yield LogLine(text, piece.nanoseconds)
            return
        except UnreachableError as error:
            quick = quick + 1 if clock.time() - begun < _QUICK_SECONDS else 0
            if quick > _MOST_QUICK:
                raise SourceError(str(error)) from error
        except KubeError as error:
            raise SourceError(str(error)) from error
        await asyncio.sleep(_PAUSE_SECONDS)


def _text(piece: Piece, most: int) -> str:
    """Of a very long line the beginning."""
    return piece.text.removesuffix(b"\n")[:most].decode("utf-8", "replace")
