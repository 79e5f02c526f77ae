"""Reading tokens: the file a workload proves itself with, the times of a JWT one holds."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime
from pathlib import Path


class TokenFileError(ValueError):
    """The file has no token."""


def read_token(file: Path) -> str:
    """The token in a file. Raises ``TokenFileError``."""
    try:
        token = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise TokenFileError(f"the token cannot be read from {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TokenFileError(f"the token in {file} is not text") from error
    if not token:
        raise TokenFileError(f"the token is missing: {file} is empty")
    return token


def jwt_expiry(jwt: str) -> datetime:
    """When a JWT ends; its signature is not looked at. Raises ``ValueError``."""
    payload = jwt.split(".")[1] if jwt.count(".") == 2 else ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return datetime.fromtimestamp(float(claims["exp"]), UTC)
    except (binascii.Error, KeyError, TypeError, OverflowError, ValueError) as error:
        raise ValueError("malformed JWT, or one without an expiry time") from error
