"""The token endpoint of an OAuth 2.0 authorization server."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlsplit

import orjson

from dapr_common.http.proxy import proxy_of

if TYPE_CHECKING:
    import aiohttp

_SECONDS = 10.0
_MOST_BYTES = 1 << 20
_MOST_SHOWN = 100
Form = Sequence[tuple[str, str]]


class AuthStyle(Enum):
    """How a client proves to the endpoint who it is."""

    AUTO = "0"
    PARAMS = "1"
    HEADER = "2"


class TokenEndpointError(Exception):
    """No token was to be had; the text says where and why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; ``seconds`` is how long it is good for, when the server said so."""

    value: str
    kind: str
    seconds: float | None

    @property
    def header_value(self) -> bytes:
        """As it stands in a request's header."""
        kind = "Bearer" if self.kind.lower() == "bearer" else self.kind
        return f"{kind} {self.value}".encode("latin-1", "replace")


class TokenEndpoint:
    """Asks for tokens, each time with a deadline."""

    def __init__(
        self, url: str, client_id: str, client_secret: str, style: AuthStyle = AuthStyle.AUTO
    ) -> None:
        self._url = url
        self._client_id = client_id
        self._client_secret = client_secret
        self._style = style
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Prepare; connects to nothing yet."""
        import aiohttp

        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json"},
        )

    async def close(self) -> None:
        """Close; safe to call twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def token(self, form: Form) -> Token:
        """A token for a grant. Raises ``TokenEndpointError``."""
        if self._style is not AuthStyle.AUTO:
            return _token(*await self._ask(form, self._style), self._shown)
        # As Go's client does: a refusal of the one way may mean that the other is wanted.
        status, answer = await self._ask(form, AuthStyle.HEADER)
        style = AuthStyle.HEADER
        if 400 <= status < 500:
            status, answer = await self._ask(form, AuthStyle.PARAMS)
            style = AuthStyle.PARAMS
        found = _token(status, answer, self._shown)
        self._style = style
        return found

    @property
    def _shown(self) -> str:
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    async def _ask(self, form: Form, style: AuthStyle) -> tuple[int, bytes]:
        import aiohttp

        if self._session is None:
            raise TokenEndpointError("the component is closed")
        data, headers = list(form), {}
        if style is AuthStyle.PARAMS:
            data += [("client_id", self._client_id), ("client_secret", self._client_secret)]
        else:
            pair = f"{quote_plus(self._client_id)}:{quote_plus(self._client_secret)}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        try:
            async with self._session.post(
                self._url,
                data=data,
                headers=headers,
                allow_redirects=False,
                proxy=proxy_of(self._url),
            ) as response:
                return response.status, await _read(response)
        except TimeoutError as error:
            raise TokenEndpointError(
                f"{self._shown} did not answer within {_SECONDS:g}s"
            ) from error
        except aiohttp.ClientError as error:
            raise TokenEndpointError(f"{self._shown} cannot be reached: {error}") from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    text = b""
    async for chunk in response.content.iter_chunked(64 << 10):
        text += chunk
        if len(text) > _MOST_BYTES:
            break  # no token is as long; what is cut off is no JSON either
    return text


def _token(status: int, text: bytes, where: str) -> Token:
    try:
        answer: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    if status != 200:
        code = answer.get("error")
        shown = f": {code[:_MOST_SHOWN]}" if isinstance(code, str) and code.isprintable() else ""
        raise TokenEndpointError(f"{where} answered with status {status}{shown}")
    value = answer.get("access_token")
    if not isinstance(value, str) or not value or not value.isprintable():
        raise TokenEndpointError(f"{where} answered without an access token")
    kind = answer.get("token_type")
    return Token(
        value,
        kind if isinstance(kind, str) and kind.isalnum() else "Bearer",
        _seconds(answer.get("expires_in")),
    )


def _seconds(given: object) -> float | None:
    """A lifetime; some servers write the number as text, and 0 for none."""
    try:
        seconds = float(given) if isinstance(given, int | float | str) else 0.0
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None
