"""The log of a container line by line, also over breaks of its stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from dapr_cli.kube.pod_log import pod_log
from dapr_common.kube.api_errors import KubeError, UnreachableError
from dapr_common.kube.login import Login
from dapr_dashboard.log_lines import nanoseconds
from dapr_dashboard.model import LogLine, SourceError

_MOST_LINE_BYTES = 64 << 10
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
    clock = asyncio.get_running_loop()
    seen, since, quick = 0, "", 0
    while True:
        begun = clock.time()
        chunks = pod_log(
            login,
            namespace,
            pod,
            container,
            lines=0 if since else last,
            follow=follow,
            since=since,
        )
        try:
            async with aclosing(_lines(chunks)) as lines:
                async for line in lines:
                    if not follow:
                        yield LogLine(line, nanoseconds(line))
                        continue
                    stamp, _, text = line.partition(" ")
                    if (moment := nanoseconds(stamp)) <= seen:
                        continue  # came before the break; the kubelet's own words have no time
                    seen, since = moment, f"{stamp[:19]}Z"
                    yield LogLine(text, moment)
            return
        except UnreachableError as error:
            quick = quick + 1 if clock.time() - begun < _QUICK_SECONDS else 0
            if not follow or quick > _MOST_QUICK:
                raise SourceError(str(error)) from error
        except KubeError as error:
            raise SourceError(str(error)) from error
        await asyncio.sleep(_PAUSE_SECONDS)


async def _lines(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[str, None]:
    """Without their ends; of a very long line the beginning."""
    rest = b""
    async with aclosing(chunks):
        async for chunk in chunks:
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line[:_MOST_LINE_BYTES].decode("utf-8", "replace")
            rest = rest[:_MOST_LINE_BYTES]
    if rest:
        yield rest.decode("utf-8", "replace")
