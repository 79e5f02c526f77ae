"""A small OAuth and OpenID provider that signs real tokens; it stands in for a real one."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import unquote, urlencode

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm


class SigningKey:
    """A key pair with an id; making an RSA one takes a moment."""

    def __init__(self, key_id: str, algorithm: str = "ES256") -> None:
        self.id = key_id
        self.algorithm = algorithm
        self.private: Any
        if algorithm == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
        else:
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public(self) -> dict[str, Any]:
        kind: Any = ECAlgorithm if self.algorithm == "ES256" else RSAAlgorithm
        entry = json.loads(kind.to_jwk(self.private.public_key()))
        return {**entry, "kid": self.id, "alg": self.algorithm, "use": "sig"}

    def sign(self, claims: Mapping[str, Any], **header: str) -> str:
        headers = {"kid": self.id, **header}
        return jwt.encode(dict(claims), self.private, algorithm=self.algorithm, headers=headers)


class StandInIdentityProvider:
    """Serves ``/.well-known/openid-configuration``, ``/keys``, ``/authorize`` and ``/token``.

    ``held`` keeps every answer back until it is cleared; ``failing`` is a status that the
    token endpoint answers with. ``asked`` counts requests by path, ``token_requests`` has the
    forms, with the client's id and secret and where they stood.
    """

    def __init__(self, *, client_id: str = "app", client_secret: str = "s3cret&%") -> None:
        self.client_id, self.client_secret = client_id, client_secret
        self.keys = [SigningKey("first")]
        self.asked: dict[str, int] = {}
        self.token_requests: list[dict[str, str]] = []
        self.accepts = {"header", "params"}
        self.expires_in: int | None = 3600
        self.failing = 0
        self.url = ""
        self._open = asyncio.Event()
        self._open.set()
        self._codes: dict[str, str] = {}
        self._runner: web.AppRunner | None = None

    def hold(self) -> None:
        """Answer nobody until ``release``."""
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def token(self, audience: str = "app", **claims: Any) -> str:
        """A signed token, valid for a minute unless its claims say otherwise."""
        now = int(time.time())
        known = {"iss": self.url, "aud": audience, "sub": "user", "iat": now, "exp": now + 60}
        merged = {**known, **claims}
        kept = {name: value for name, value in merged.items() if value is not None}
        return self.keys[0].sign(kept)

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._counted])
        app.router.add_get("/.well-known/openid-configuration", self._configuration)
        app.router.add_get("/keys", self._keys)
        app.router.add_get("/authorize", self._authorize)
        app.router.add_post("/token", self._token)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()
        assert self._runner is not None
        await self._runner.cleanup()

    @web.middleware
    async def _counted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked[request.path] = self.asked.get(request.path, 0) + 1
        await self._open.wait()
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _configuration(self, _: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    async def _keys(self, _: web.Request) -> web.Response:
        return web.json_response({"keys": [key.public for key in self.keys]})

    async def _authorize(self, request: web.Request) -> web.Response:
        asked = request.query
        if asked.get("client_id") != self.client_id or asked.get("response_type") != "code":
            return web.Response(status=400, text="unknown client or response type")
        code = secrets.token_urlsafe(8)
        self._codes[code] = asked.get("redirect_uri", "")
        back = urlencode({"code": code, "state": asked.get("state", "")})
        return web.Response(status=302, headers={"Location": f"{asked['redirect_uri']}?{back}"})

    async def _token(self, request: web.Request) -> web.Response:
        if self.failing:
            return web.json_response({"error": "temporarily_unavailable"}, status=self.failing)
        form = {name: str(value) for name, value in (await request.post()).items()}
        style, given = "params", (form.get("client_id"), form.get("client_secret"))
        if header := request.headers.get("Authorization", ""):
            user, _, password = base64.b64decode(header.split()[1]).decode().partition(":")
            style, given = "header", (unquote(user), unquote(password))
        self.token_requests.append({**form, "style": style})
        if given != (self.client_id, self.client_secret) or style not in self.accepts:
            return web.json_response({"error": "invalid_client"}, status=401)
        if form["grant_type"] == "authorization_code":
            wanted = self._codes.pop(form["code"], None)
            if wanted is None or wanted != form.get("redirect_uri"):
                return web.json_response({"error": "invalid_grant"}, status=400)
        elif form["grant_type"] != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        answer: dict[str, Any] = {"access_token": self.token(), "token_type": "bearer"}
        if self.expires_in is not None:
            answer["expires_in"] = self.expires_in
        return web.json_response(answer)
