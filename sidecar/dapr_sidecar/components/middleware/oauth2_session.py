"""What the oauth2 middleware keeps in the browser: sealed texts that nobody else can read."""

from __future__ import annotations

import hashlib
import time
from base64 import urlsafe_b64encode
from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken

from dapr_common.http.messages import Header, Request

_SALT = b"dapr oauth2 middleware sessions"
_LARGEST_COOKIE = 4000


class Seal:
    """Encrypts and signs small JSON objects.

    The key comes from the client's secret, so that every replica of an app and a restarted
    sidecar can read what another one has sealed; the derivation is slow, so that a cookie is of
    little help for guessing the secret.
    """

    def __init__(self, client_id: str, client_secret: str) -> None:
        key = hashlib.scrypt(
            client_secret.encode(), salt=_SALT + client_id.encode(), n=1 << 14, r=8, p=1, dklen=32
        )
        self._fernet = Fernet(urlsafe_b64encode(key))

    def close(self, purpose: str, content: dict[str, Any], seconds: int) -> str:
        """Seal an object for one purpose and a time."""
        stamped = {**content, "for": purpose, "until": time.time() + seconds}
        return self._fernet.encrypt(orjson.dumps(stamped)).decode()

    def open(self, purpose: str, sealed: str) -> dict[str, Any] | None:
        """What was sealed for this purpose and still counts, or nothing."""
        try:
            content: dict[str, Any] = orjson.loads(self._fernet.decrypt(sealed.encode()))
        except InvalidToken:
            return None
        good = content["for"] == purpose and time.time() < content["until"]
        return content if good else None


def cookie(request: Request, name: str) -> str:
    """A cookie of a request, or an empty text."""
    wanted = name.encode() + b"="
    for header, value in request.headers:
        if header == b"cookie":
            for part in value.split(b";"):
                if part.strip().startswith(wanted):
                    return part.strip()[len(wanted) :].decode("latin-1")
    return ""


def set_cookie(name: str, value: str, *, seconds: int, secure: bool) -> Header:
    """The header that stores a cookie. Raises ``ValueError`` for more than browsers keep."""
    if len(name) + len(value) > _LARGEST_COOKIE:
        raise ValueError("the access token is larger than a cookie can be")
    flags = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
    return (b"Set-Cookie", f"{name}={value}; Max-Age={seconds}{flags}".encode())
