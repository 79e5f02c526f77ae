"""Tokens for Google Cloud: signed by a service account's key, or from the machine."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from dapr_sidecar.components.gcp.settings import GcpSettings
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.web import WebService

_LIFETIME = 3600
_EARLY_SECONDS = 300.0
_SECONDS = 5.0
_MACHINE = "http://metadata.google.internal"
_MACHINE_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"


class GcpTokens:
    """Tokens for one service such as ``https://pubsub.googleapis.com/``.

    A token that a service account's key signed is good without asking anybody.
    """

    def __init__(self, settings: GcpSettings, audience: str) -> None:
        """Raises ``SettingsError`` for a key that is none, or without its account."""
        self._audience = audience
        self._settings = _with_file(settings)
        self._key = _key(self._settings)
        self._token = ""
        self._expires = 0.0
        self._lock = asyncio.Lock()

    async def get(self) -> str:
        """Raises ``ConnectionError`` or ``WebError`` when the machine gives none."""
        async with self._lock:
            if self._expires - _EARLY_SECONDS < time.time():
                if self._key is not None:
                    self._sign(self._key)
                else:
                    await self._ask_machine()
            return self._token

    def signer(self) -> tuple[str, Callable[[bytes], bytes]] | None:
        """A service account's address and what signs as it does; ``None`` without its key."""
        key = self._key
        if key is None:
            return None
        return self._settings.client_email, lambda text: _signed(key, text)

    def _sign(self, key: rsa.RSAPrivateKey) -> None:
        now = int(time.time())
        head = {"alg": "RS256", "typ": "JWT", "kid": self._settings.private_key_id}
        account = self._settings.client_email
        claims = {
            "iss": account,
            "sub": account,
            "aud": self._audience,
            "iat": now,
            "exp": now + _LIFETIME,
        }
        text = ".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
        signature = _signed(key, text.encode())
        self._token, self._expires = f"{text}.{_base64(signature)}", float(now + _LIFETIME)

    async def _ask_machine(self) -> None:
        service = WebService("the machine's metadata", _MACHINE, seconds=_SECONDS)
        try:
            answer = await service.call("GET", _MACHINE_PATH, {"metadata-flavor": "Google"})
        finally:
            await service.close()
        try:
            words = json.loads(answer.body)
            self._token = str(words["access_token"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConnectionError(
                f"{service.shown} gave no token (status {answer.status}): "
                "set privateKey and clientEmail"
            ) from error
        self._expires = time.time() + float(words.get("expires_in", 0))


def _with_file(settings: GcpSettings) -> GcpSettings:
    """The key of the file that GOOGLE_APPLICATION_CREDENTIALS names, when there is none yet."""
    path = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    if settings.private_key or not path:
        return settings
    try:
        words: dict[str, Any] = json.loads(Path(path).read_text())
    except (OSError, ValueError):
        return settings
    return replace(
        settings,
        private_key=str(words.get("private_key", "")),
        private_key_id=str(words.get("private_key_id", "")),
        client_email=str(words.get("client_email", "")),
    )


def _key(settings: GcpSettings) -> rsa.RSAPrivateKey | None:
    if not settings.private_key:
        return None
    if not settings.client_email:
        raise SettingsError("missing required metadata field 'clientEmail': privateKey is given")
    text = settings.private_key.replace("\\n", "\n")
    try:
        key = serialization.load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SettingsError("invalid metadata field 'privateKey': expected an RSA key, PEM")
    return key


def _signed(key: rsa.RSAPrivateKey, text: bytes) -> bytes:
    return key.sign(text, padding.PKCS1v15(), SHA256())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
