"""``middleware.http.oauth2``: browsers log in at an authorization server, with its code flow."""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from dapr_common.http.messages import Handler, Request, Response
from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.middleware.answers import put_headers, text_answer
from dapr_sidecar.components.middleware.base import HttpMiddleware
from dapr_sidecar.components.middleware.oauth2_session import Seal, cookie, set_cookie
from dapr_sidecar.components.middleware.oauth2_settings import header_name, http_url, scope_list
from dapr_sidecar.components.middleware.patterns import PathFilter
from dapr_sidecar.components.middleware.token_endpoint import (
    TokenEndpoint,
    TokenEndpointError,
)

_LOG = get_logger("dapr.contrib")
_LOGIN_SECONDS = 600
_SESSION_SECONDS = 3600
_LONGEST_SESSION = 30 * 86400
_LONGEST_PATH = 2000
_STATE, _SESSION = "state", "session"
_NO_STORE = (b"Cache-Control", b"no-store")
_LOGIN_PARAMETERS = frozenset({"state", "code", "error"})
_NONCE = re.compile(r"[A-Za-z0-9_-]{43}")
_PATH_SAFE = "/%?:@!$&'()*+,;=-._~[]"
_NOT_A_COOKIE_NAME = re.compile(r"[^A-Za-z0-9_-]")


def _redirect_url(text: str) -> str:
    return http_url(text) if text else text


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Settings:
    """Settings of the middleware."""

    client_id: str = setting("clientID", help="the app's name at the server")
    client_secret: str = setting("clientSecret", secret=True, help="and its secret")
    auth_url: str = setting("authURL", parse=http_url, help="where users log in")
    token_url: str = setting("tokenURL", parse=http_url, help="the server's token endpoint")
    scopes: str = setting(
        "scopes", default="", parse=scope_list, help="with blanks or commas between them"
    )
    redirect_url: str = setting(
        "redirectURL",
        default="",
        parse=_redirect_url,
        help="where the server sends users back to; else what it knows of the app",
    )
    header: str = setting(
        "authHeaderName",
        default="Authorization",
        parse=header_name,
        help="header that takes the token",
    )
    force_https: bool = setting(
        "forceHTTPS", default=False, help="users come back by HTTPS; cookies only travel so"
    )
    path_filter: str = setting(
        "pathFilter", default="", help="regular expression: only paths with a match need a login"
    )


class OAuth2Middleware(HttpMiddleware):
    """Without a session the answer is a redirect to the login; with one, the token goes along.

    The session is an encrypted cookie, good for as long as the token is.
    """

    settings = OAuth2Settings

    def __init__(self, settings: OAuth2Settings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._options = settings
        redirect = settings.redirect_url
        if settings.force_https and redirect:
            redirect = urlsplit(redirect)._replace(scheme="https").geturl()
        self._redirect = redirect
        self._secure = settings.force_https or redirect.startswith("https:")
        # Relative unless the scheme is to change.
        self._origin = f"https://{urlsplit(redirect).netloc}" if self._secure and redirect else ""
        self._header = settings.header.lower().encode()
        name = _NOT_A_COOKIE_NAME.sub("-", context.name)
        self._login_cookie = f"dapr-oauth2-{name}-login"
        self._session_cookie = f"dapr-oauth2-{name}-session"
        self._endpoint = TokenEndpoint(
            settings.token_url, settings.client_id, settings.client_secret
        )
        self._filter = PathFilter("")
        self._seal: Seal | None = None

    async def open(self) -> None:
        """Read the path filter and make the key of the cookies."""
        options = self._options
        self._filter = PathFilter(options.path_filter)
        self._seal = await asyncio.to_thread(Seal, options.client_id, options.client_secret)
        await self._endpoint.open()

    async def close(self) -> None:
        await self._endpoint.close()

    def wrap(self, following: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            query = _login_query(request)
            state = self._open(_STATE, query.get("state", ""))
            if state is not None:
                return await self._finish(request, query, state)
            if not self._filter.takes(request):
                return await following(request)
            session = self._open(_SESSION, cookie(request, self._session_cookie))
            if session is not None:
                put_headers(request, [(self._header, session["header"].encode("latin-1"))])
                return await following(request)
            if query:
                return text_answer(400, "the login cannot be finished: its state is not known")
            return self._start(request)

        return handle

    def _start(self, request: Request) -> Response:
        """Send the browser to the login. The state says where it wanted to go."""
        nonce = cookie(request, self._login_cookie)
        if not _NONCE.fullmatch(nonce):
            nonce = secrets.token_urlsafe(32)  # else a login in another tab goes on
        asked = {"nonce": nonce, "path": _own_path(request)}
        params = {
            "client_id": self._options.client_id,
            "response_type": "code",
            "state": self._sealed(_STATE, asked, _LOGIN_SECONDS),
        }
        if self._redirect:
            params["redirect_uri"] = self._redirect
        if self._options.scopes:
            params["scope"] = self._options.scopes
        url = self._options.auth_url
        target = f"{url}{'&' if '?' in url else '?'}{urlencode(params)}"
        return _found(target, self._login_cookie, nonce, _LOGIN_SECONDS, secure=self._secure)

    async def _finish(
        self, request: Request, query: Mapping[str, str], state: Mapping[str, Any]
    ) -> Response:
        """Trade the code for a token and send the browser to where it wanted to go."""
        nonce = cookie(request, self._login_cookie)
        if not hmac.compare_digest(nonce.encode(), state["nonce"].encode()):
            return text_answer(400, "the login was not begun in this browser")
        if "code" not in query:
            return text_answer(403, "the authorization server has refused the login")
        form = [("grant_type", "authorization_code"), ("code", query["code"])]
        if self._redirect:
            form.append(("redirect_uri", self._redirect))
        try:
            token = await self._endpoint.token(form)
            seconds = int(min(token.seconds or _SESSION_SECONDS, _LONGEST_SESSION))
            content = {"header": token.header_value.decode("latin-1")}
            sealed = self._sealed(_SESSION, content, seconds)
            back = self._origin + state["path"]
            return _found(back, self._session_cookie, sealed, seconds, secure=self._secure)
        except (TokenEndpointError, ValueError) as error:
            _LOG.error("%s cannot finish a login: %s", self._context.name, error)
            return text_answer(500, f"the login cannot be finished: {error}")

    def _open(self, purpose: str, sealed: str) -> dict[str, Any] | None:
        assert self._seal is not None, "open() comes first"
        return self._seal.open(purpose, sealed) if sealed else None

    def _sealed(self, purpose: str, content: dict[str, Any], seconds: int) -> str:
        assert self._seal is not None, "open() comes first"
        return self._seal.close(purpose, content, seconds)


def _login_query(request: Request) -> dict[str, str]:
    """The parameters that a login comes back with, or nothing."""
    if b"state=" not in request.query:
        return {}
    given = parse_qs(request.query.decode("latin-1"))
    found = {name: values[0] for name, values in given.items() if name in _LOGIN_PARAMETERS}
    return found if "state" in found and len(found) > 1 else {}


def _own_path(request: Request) -> str:
    """What a request asked for, as a path of this host whatever it looks like."""
    path = b"/" + request.path.lstrip(b"/\\")  # browsers take both for the begin of a host
    target = path + (b"?" + request.query if request.query else b"")
    return quote(target, safe=_PATH_SAFE) if len(target) <= _LONGEST_PATH else "/"


def _found(target: str, name: str, value: str, seconds: int, *, secure: bool) -> Response:
    """A redirect that leaves a cookie. Raises ``ValueError`` when that is too large."""
    stored = set_cookie(name, value, seconds=seconds, secure=secure)
    return Response(302, [(b"Location", target.encode()), stored, _NO_STORE])
