"""``middleware.http.oauth2clientcredentials``: requests go on with a token of the sidecar's own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import parse_qsl

from dapr_common.http.messages import Handler, Request, Response
from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.middleware.answers import put_headers, text_answer
from dapr_sidecar.components.middleware.base import HttpMiddleware
from dapr_sidecar.components.middleware.oauth2_settings import header_name, http_url, scope_list
from dapr_sidecar.components.middleware.patterns import PathFilter
from dapr_sidecar.components.middleware.token_endpoint import (
    AuthStyle,
    TokenEndpoint,
    TokenEndpointError,
)

_LOG = get_logger("dapr.contrib")
_EARLY_SECONDS = 10.0
_UNSTATED_SECONDS = 300.0
_GRANT = "client_credentials"


def _query(text: str) -> str:
    try:
        parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
    except ValueError:
        raise ValueError("expected a query such as audience=a&resource=b") from None
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentialsSettings:
    """Settings of the middleware."""

    header: str = setting("headerName", parse=header_name, help="header that takes the token")
    client_id: str = setting("clientID", help="the sidecar's name at the server")
    client_secret: str = setting("clientSecret", secret=True, help="and its secret")
    token_url: str = setting("tokenURL", parse=http_url, help="the server's token endpoint")
    scopes: str = setting(
        "scopes", default="", parse=scope_list, help="with blanks or commas between them"
    )
    params: str = setting(
        "endpointParamsQuery",
        default="",
        parse=_query,
        help="more parameters for the endpoint, as a query",
    )
    style: AuthStyle = setting(
        "authStyle",
        default=AuthStyle.AUTO,
        help="where id and secret stand: in the form (1), in the header (2), what works (0)",
    )
    path_filter: str = setting(
        "pathFilter", default="", help="regular expression: only paths with a match get the token"
    )


class ClientCredentialsMiddleware(HttpMiddleware):
    """A token is fetched when one is needed and kept until shortly before it expires.

    Requests that come meanwhile share the fetch. Without a token the answer is 500.
    """

    settings = ClientCredentialsSettings

    def __init__(self, settings: ClientCredentialsSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._header = settings.header.lower().encode()
        self._form = [("grant_type", _GRANT), *parse_qsl(settings.params, keep_blank_values=True)]
        if settings.scopes:
            self._form.append(("scope", settings.scopes))
        self._endpoint = TokenEndpoint(
            settings.token_url, settings.client_id, settings.client_secret, settings.style
        )
        self._filter = PathFilter("")
        self._filter_text = settings.path_filter
        self._value = b""
        self._good_until = 0.0
        self._fetching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the path filter; the server is asked when the first request comes."""
        self._filter = PathFilter(self._filter_text)
        await self._endpoint.open()

    async def close(self) -> None:
        """End a fetch under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        await self._endpoint.close()

    def wrap(self, following: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            if self._filter.takes(request):
                try:
                    put_headers(request, [(self._header, await self._current())])
                except TokenEndpointError as error:
                    _LOG.error("%s has no token: %s", self._context.name, error)
                    return text_answer(500, f"{self._context.name} has no token: {error}")
            return await following(request)

        return handle

    async def _current(self) -> bytes:
        """The header's value. Raises ``TokenEndpointError``."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._good_until:
            return self._value
        fetching = self._fetching
        if fetching is None:
            fetching = self._fetching = loop.create_task(self._fetch(), name="fetch a token")
            fetching.add_done_callback(self._fetched)
        await asyncio.wait([fetching])  # a caller that leaves does not end it for the others
        if fetching.cancelled():
            raise TokenEndpointError("the component is closed")
        fetching.result()
        return self._value

    def _fetched(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # seen, though whoever asked may have left

    async def _fetch(self) -> None:
        token = await self._endpoint.token(self._form)
        seconds = _UNSTATED_SECONDS if token.seconds is None else token.seconds
        early = min(_EARLY_SECONDS, seconds / 2)
        self._value = token.header_value
        self._good_until = asyncio.get_running_loop().time() + seconds - early
