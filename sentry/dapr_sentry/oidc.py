"""OpenID Connect discovery over HTTP: where verifiers find the keys of sentry's JWTs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson

from dapr_common.http.messages import Request, Response
from dapr_common.http.server import HttpServer
from dapr_sentry.jwt import JwtIssuer
from dapr_sentry.oidc_tls import CertificateFiles
from dapr_sentry.settings import OidcSettings

TARGET = "oidc-server"
"""Its readiness target."""

_HEADER_SECONDS = 10.0
_IDLE_SECONDS = 60.0
_MOST_HEADER_BYTES = 16 << 10
_MOST_CONNECTIONS = 1000
_GRACE_SECONDS = 5.0
_CLAIMS = ("sub", "iss", "aud", "exp", "iat", "nbf", "use")
_ANY = "*"


class Discovery:
    """The two documents, and who may ask for them. ``handle`` answers one request."""

    def __init__(self, settings: OidcSettings, issuer: JwtIssuer, *, issuer_url: str) -> None:
        self.issuer = issuer
        self._issuer_url = issuer_url
        self._jwks_uri = settings.jwks_uri
        self._scheme = "https" if settings.cert_file else "http"
        self._allowed = frozenset(host.strip().lower() for host in settings.allowed_hosts) - {""}
        prefix = settings.path_prefix.strip("/")
        self._prefix = f"/{prefix}" if prefix else ""
        self._documents: dict[str, Callable[[str], Response]] = {
            f"{self._prefix}/jwks.json": self._jwks,
            f"{self._prefix}/.well-known/openid-configuration": self._configuration,
        }

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        host = self._host(request)
        if self._allowed and not self._is_allowed(host):
            return _refusal(403, "Forbidden: unauthorized domain")
        document = self._documents.get(request.path.decode("latin-1"))
        if document is None:
            return _refusal(404, "404 page not found")
        if request.method != "GET":
            return _refusal(405, "Method not allowed")
        return document(host)

    def _host(self, request: Request) -> str:
        """The host that was asked for.

        A proxy's word for it counts only where hosts are checked: the answer is kept by caches,
        and must not send its readers to a stranger's keys.
        """
        names = [b"host"]
        if self._allowed and _ANY not in self._allowed:
            names.insert(0, b"x-forwarded-host")
        found = next((value for name in names if (value := request.header(name))), b"")
        return found.decode("latin-1").strip()

    def _is_allowed(self, host: str) -> bool:
        host = host.lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        return bool(self._allowed & {_ANY, host, name})

    def _jwks(self, host: str) -> Response:
        if not self.issuer.jwks:
            return _refusal(404, "JWKS not available")
        return _json(self.issuer.jwks)

    def _configuration(self, host: str) -> Response:
        base = f"{self._scheme}://{host}"
        return _json(
            orjson.dumps(
                {
                    "issuer": self._issuer_url or base,
                    "jwks_uri": self._jwks_uri or f"{base}{self._prefix}/jwks.json",
                    "response_types_supported": ["id_token"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": [self.issuer.algorithm],
                    "scopes_supported": ["openid"],
                    "claims_supported": _CLAIMS,
                }
            )
        )


class OidcServer:
    """Serves the documents until cancelled, once its certificate is there."""

    def __init__(self, settings: OidcSettings, issuer: JwtIssuer, *, issuer_url: str) -> None:
        self.port = settings.port
        self._host = settings.listen_address or None
        self._files = (
            CertificateFiles(settings.cert_file, settings.key_file) if settings.cert_file else None
        )
        self._discovery = Discovery(settings, issuer, issuer_url=issuer_url)

    def publish(self, issuer: JwtIssuer) -> None:
        """Publish this issuer's key from now on."""
        self._discovery.issuer = issuer

    async def run(self, ready: Callable[[], None]) -> None:
        """Listen, call ``ready`` and serve. Raises ``OSError`` when the port cannot be had."""
        server = HttpServer(
            self._discovery.handle,
            max_body_bytes=0,
            max_header_bytes=_MOST_HEADER_BYTES,
            header_timeout=_HEADER_SECONDS,
            idle_timeout=_IDLE_SECONDS,
            max_connections=_MOST_CONNECTIONS,
            h2c=False,
        )
        try:
            if self._files is not None:
                await self._files.wait()
            tls = None if self._files is None else self._files.context
            self.port = await server.listen_tcp(self._host, self.port, ssl=tls)
            ready()
            if self._files is not None:
                await self._files.follow()
            await asyncio.Event().wait()
        finally:
            await server.close(_GRACE_SECONDS)


def _json(body: bytes) -> Response:
    headers = [
        (b"Content-Type", b"application/json"),
        (b"Cache-Control", b"public, max-age=3600"),
    ]
    return Response(200, headers, body)


def _refusal(status: int, text: str) -> Response:
    headers = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"X-Content-Type-Options", b"nosniff"),
    ]
    return Response(status, headers, text.encode() + b"\n")
