"""One URL that spans are posted to."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from dapr_common.http.client import HttpClient
from dapr_common.http.messages import Header
from dapr_common.observe.exporters.base import ExportError, shown_url

_TRANSIENT = frozenset({429, 502, 503, 504})
_MAX_SHOWN = 200


class HttpPost:
    """Posts bodies to one URL over kept connections."""

    def __init__(self, url: str, headers: list[Header]) -> None:
        """Raises ``ValueError`` when this is no http or https URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f'invalid URL "{shown_url(url)}": expected http://host:port/path')
        secure = parts.scheme == "https"
        self._client = HttpClient(
            parts.hostname,
            parts.port or (443 if secure else 80),
            ssl=ssl.create_default_context() if secure else None,
            max_connections=2,
            max_idle=1,
        )
        path = parts.path or "/"
        self._target = (f"{path}?{parts.query}" if parts.query else path).encode()
        self._headers = headers

    async def post(self, body: bytes) -> None:
        """Send one body. Raises ``ExportError`` for an answer that is no success."""
        try:
            response = await self._client.request("POST", self._target, self._headers, body)
            text = await response.read()
        except OSError as error:
            raise ExportError(str(error), transient=True) from error
        if not 200 <= response.status < 300:
            shown = text[:_MAX_SHOWN].decode("utf-8", "replace")
            raise ExportError(
                f"status {response.status} {shown}".rstrip(),
                transient=response.status in _TRANSIENT,
            )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
