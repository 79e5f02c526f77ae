"""Tokens of Microsoft Entra ID: a secret, a certificate, a federated token, a managed identity."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import time
import urllib.parse
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import pkcs12

from dapr_sidecar.components.azure.settings import AzureEnvironment, AzureSettings
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.web import WebAnswer, WebError, WebService

_AUTHORITIES = {
    AzureEnvironment.PUBLIC: "https://login.microsoftonline.com",
    AzureEnvironment.CHINA: "https://login.chinacloudapi.cn",
    AzureEnvironment.GOVERNMENT: "https://login.microsoftonline.us",
}
_MACHINE = "http://169.254.169.254"
_SECONDS = 10.0
_EARLY_SECONDS = 300.0
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class TokenError(Exception):
    """No token was given; the text says by whom and why."""


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token; ``expires`` in seconds since the epoch."""

    text: str = field(repr=False)
    expires: float


class TokenSource:
    """Tokens for one resource such as ``https://vault.azure.net``, renewed before they end."""

    def __init__(self, settings: AzureSettings, resource: str) -> None:
        """Raises ``SettingsError`` when the way to log in is only half described."""
        self._settings = settings
        self._resource = resource.rstrip("/")
        self._tenant = settings.tenant_id or os.environ.get("AZURE_TENANT_ID", "")
        self._client = settings.client_id or os.environ.get("AZURE_CLIENT_ID", "")
        self._secret = settings.client_secret or os.environ.get("AZURE_CLIENT_SECRET", "")
        self._federated = os.environ.get("AZURE_FEDERATED_TOKEN_FILE", "")
        self._found: Token | None = None
        self._lock = asyncio.Lock()
        if self._is_application:
            for name, value in (("azureTenantId", self._tenant), ("azureClientId", self._client)):
                if not value:
                    raise SettingsError(f"missing required metadata field '{name}'")

    @property
    def _is_application(self) -> bool:
        settings = self._settings
        return bool(self._secret or settings.certificate or settings.certificate_file)

    async def get(self) -> str:
        """A token that is good for some minutes. Raises ``TokenError``."""
        async with self._lock:
            if not self._is_fresh(_EARLY_SECONDS):
                try:
                    self._found = await self._fetch()
                except (TokenError, WebError, OSError, ValueError) as error:
                    if not self._is_fresh(0):
                        raise TokenError(f"no token of Microsoft Entra ID: {error}") from error
            assert self._found is not None
            return self._found.text

    def _is_fresh(self, early: float) -> bool:
        return self._found is not None and self._found.expires - early > time.time()

    async def _fetch(self) -> Token:
        if self._is_application or (self._federated and self._tenant and self._client):
            return await self._ask_authority(await self._proof())
        return await self._ask_machine()

    async def _proof(self) -> dict[str, str]:
        if self._secret:
            return {"client_secret": self._secret}
        if self._is_application:
            assertion = await asyncio.to_thread(self._signed_assertion)
        else:
            assertion = (await asyncio.to_thread(Path(self._federated).read_text)).strip()
        return {"client_assertion_type": _ASSERTION, "client_assertion": assertion}

    async def _ask_authority(self, proof: Mapping[str, str]) -> Token:
        words = {
            "grant_type": "client_credentials",
            "client_id": self._client,
            "scope": self._resource + "/.default",
            **proof,
        }
        service = WebService("Microsoft Entra ID", self._authority, seconds=_SECONDS)
        headers = {"content-type": "application/x-www-form-urlencoded"}
        body = urllib.parse.urlencode(words).encode()
        try:
            answer = await service.call("POST", f"/{self._tenant}/oauth2/v2.0/token", headers, body)
        finally:
            await service.close()
        return _token(answer, service.shown)

    @property
    def _authority(self) -> str:
        return (
            os.environ.get("AZURE_AUTHORITY_HOST", "") or _AUTHORITIES[self._settings.environment]
        )

    async def _ask_machine(self) -> Token:
        """The managed identity of an App Service or a machine."""
        words = {"resource": self._resource}
        if self._client:
            words["client_id"] = self._client
        if endpoint := os.environ.get("IDENTITY_ENDPOINT"):
            parts = urllib.parse.urlsplit(endpoint)
            origin, path = f"{parts.scheme}://{parts.netloc}", parts.path
            headers = {"x-identity-header": os.environ.get("IDENTITY_HEADER", "")}
            words["api-version"] = "2019-08-01"
        else:
            origin, path = _MACHINE, "/metadata/identity/oauth2/token"
            headers = {"metadata": "true"}
            words["api-version"] = "2018-02-01"
        service = WebService("the managed identity", origin, seconds=_SECONDS)
        try:
            answer = await service.call("GET", f"{path}?{urllib.parse.urlencode(words)}", headers)
        finally:
            await service.close()
        return _token(answer, service.shown)

    def _signed_assertion(self) -> str:
        key, certificate = _load(self._settings)
        thumbprint = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()
        head = {"alg": "PS256", "typ": "JWT", "x5t#S256": _base64(thumbprint)}
        now = int(time.time())
        claims = {
            "aud": f"{self._authority.rstrip('/')}/{self._tenant}/oauth2/v2.0/token",
            "iss": self._client,
            "sub": self._client,
            "jti": str(uuid.uuid4()),
            "nbf": now,
            "exp": now + 600,
        }
        text = ".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
        salted = padding.PSS(padding.MGF1(SHA256()), SHA256.digest_size)
        return f"{text}.{_base64(key.sign(text.encode(), salted, SHA256()))}"


def _load(settings: AzureSettings) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    """The application's key and certificate. Raises ``SettingsError``."""
    raw = settings.certificate.encode() or Path(settings.certificate_file).read_bytes()
    field_ = "azureCertificate" if settings.certificate else "azureCertificateFile"
    password = settings.certificate_password.encode() or None
    try:
        if b"-----BEGIN" in raw:
            key = serialization.load_pem_private_key(raw, password)
            certificate: x509.Certificate | None = x509.load_pem_x509_certificate(raw)
        else:
            key, certificate, _ = pkcs12.load_key_and_certificates(raw, password)  # type: ignore[assignment]
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise SettingsError(
            f"invalid metadata field '{field_}': expected a certificate and its key, PEM or PFX"
        ) from error
    if not isinstance(key, rsa.RSAPrivateKey) or certificate is None:
        raise SettingsError(f"invalid metadata field '{field_}': expected an RSA key")
    return key, certificate


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _token(answer: WebAnswer, shown: str) -> Token:
    try:
        words = json.loads(answer.body)
    except ValueError:
        words = {}
    if answer.status != 200 or "access_token" not in words:
        reason = words.get("error_description") or words.get("error") or f"status {answer.status}"
        raise TokenError(f"{shown}: {str(reason).splitlines()[0]}")
    return Token(words["access_token"], time.time() + float(words.get("expires_in", 300)))
