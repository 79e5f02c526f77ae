"""``daprd --wait``: poll a running sidecar's outbound health."""

from __future__ import annotations

import asyncio

from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.runtime")
_TOTAL_SECONDS, _REQUEST_SECONDS, _PAUSE_SECONDS = 60.0, 0.5, 0.1


async def wait_for_outbound(port: int) -> int:
    """Exit code 0 once ``/v1.0/healthz/outbound`` answers 2xx, 1 after a minute."""
    try:
        async with asyncio.timeout(_TOTAL_SECONDS):
            while not await _answers(port):  # noqa: ASYNC110 - another process is waited for
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError:
        _LOG.error("timeout waiting for daprd to be ready on port %d", port)
        return 1
    return 0


async def _answers(port: int) -> bool:
    try:
        async with asyncio.timeout(_REQUEST_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(
                    b"GET /v1.0/healthz/outbound HTTP/1.1\r\nHost: localhost\r\n"
                    b"Connection: close\r\n\r\n"
                )
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status.split(b" ")[1:2][:1] == [b"204"] or status.split(b" ")[1:2] == [b"200"]
