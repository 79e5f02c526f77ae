"""``middleware.http.bearer``: requests need a JSON Web Token from a known issuer."""

from __future__ import annotations

from dataclasses import dataclass

from dapr_common.http.messages import Handler, Request, Response
from dapr_common.observe.logs import get_logger
from dapr_common.security.jwks import KeySet, TokenError
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.middleware.answers import text_answer
from dapr_sidecar.components.middleware.base import HttpMiddleware

_LOG = get_logger("dapr.contrib")
_LEEWAY_SECONDS = 300.0
# Shorter than a component may take to start: its error says more than "init timeout".
_FETCH_SECONDS = 4.0


def _url(text: str) -> str:
    if text and not text.lower().startswith(("http://", "https://")):
        raise ValueError("expected an http(s) URL")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerSettings:
    """Settings of the middleware."""

    issuer: str = setting("issuer", help="what the tokens' claim `iss` has to be")
    audience: str = setting("audience", help="what has to be in the tokens' claim `aud`")
    jwks_url: str = setting(
        "jwksURL",
        default="",
        parse=_url,
        help="where the issuer's keys are; else its OpenID configuration document says it",
    )


class BearerMiddleware(HttpMiddleware):
    """A request without a good token in `Authorization` is answered with 401."""

    settings = BearerSettings

    def __init__(self, settings: BearerSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._options = settings
        source = settings.jwks_url
        if not source:
            source = settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        self._keys = KeySet(source, request_timeout=_FETCH_SECONDS)

    async def open(self) -> None:
        """Fetch the issuer's keys."""
        if not self._options.jwks_url and not self._options.issuer.lower().startswith("http"):
            raise ValueError(
                f"invalid metadata field 'issuer': '{self._options.issuer}': expected a URL, "
                "or 'jwksURL' beside it"
            )
        await self._keys.open()

    async def close(self) -> None:
        await self._keys.close()

    def wrap(self, following: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            # One that was not looked at must not reach the app beside one that was.
            given = [value for name, value in request.headers if name == b"authorization"]
            if len(given) > 1:
                return _refusal("there is more than one Authorization header", b"Bearer")
            scheme, _, token = b"".join(given).strip().partition(b" ")
            if scheme.lower() != b"bearer" or not token:
                return _refusal("a bearer token is needed", b"Bearer")
            try:
                await self._keys.verify(
                    token.strip().decode("latin-1"),
                    audience=self._options.audience,
                    issuer=self._options.issuer,
                    leeway=_LEEWAY_SECONDS,
                )
            except TokenError as error:
                _LOG.debug("%s refuses a request: %s", self._context.name, error)
                challenge = f'Bearer error="invalid_token", error_description="{error}"'
                return _refusal(str(error), challenge.encode())
            return await following(request)

        return handle


def _refusal(text: str, challenge: bytes) -> Response:
    return text_answer(401, text, [(b"WWW-Authenticate", challenge)])
