"""AWS Signature Version 4, as its specification says. Pure: the moment is passed in."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl, quote

_S3 = "s3"
_ALGORITHM = "AWS4-HMAC-SHA256"
CONTENT_DIGEST = "x-amz-content-sha256"
"""The header of a request to S3 that says what its body is."""
UNSIGNED = "UNSIGNED-PAYLOAD"
"""Its value for a body that only TLS protects."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys; ``expires`` is when they stop working, in seconds since the epoch."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a signature is good."""

    region: str
    service: str


def sign(
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    credentials: Credentials,
    scope: Scope,
    now: datetime,
) -> dict[str, str]:
    """The headers to send: those given (``host`` among them) and the signature's.

    ``target`` is path and query as they go over the wire; ``now`` is a moment in UTC. With the
    header ``CONTENT_DIGEST``, as S3 wants it, the body is not looked at.
    """
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    signed = {name.lower(): value.strip() for name, value in headers.items()}
    signed["x-amz-date"] = moment
    if credentials.session_token:
        signed["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(signed))
    place = f"{moment[:8]}/{scope.region}/{scope.service}/aws4_request"
    request = "\n".join(
        (
            method,
            *_canonical_target(target, scope),
            "".join(f"{name}:{signed[name]}\n" for name in sorted(signed)),
            names,
            signed.get(CONTENT_DIGEST) or hashlib.sha256(body).hexdigest(),
        )
    )
    digest = hashlib.sha256(request.encode()).hexdigest()
    signature = _signature(f"{_ALGORITHM}\n{moment}\n{place}\n{digest}", moment, credentials, scope)
    signed["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{place}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return signed


def presigned(
    target: str, host: str, credentials: Credentials, scope: Scope, now: datetime, seconds: int
) -> str:
    """``host`` and ``target`` with a signature in the query that is good for so many seconds.

    ``target`` is path and query; this is what RDS takes as a password, and what opens an object
    of S3 to whoever has it.
    """
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    place = f"{moment[:8]}/{scope.region}/{scope.service}/aws4_request"
    words = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{place}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.session_token:
        words["X-Amz-Security-Token"] = credentials.session_token
    joint = "&" if "?" in target else "?"
    whole = f"{target}{joint}" + "&".join(f"{name}={quote(words[name], safe='')}" for name in words)
    path, query = _canonical_target(whole, scope)
    content = UNSIGNED if scope.service == _S3 else hashlib.sha256(b"").hexdigest()
    request = "\n".join(("GET", path, query, f"host:{host}\n", "host", content))
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"{_ALGORITHM}\n{moment}\n{place}\n{digest}"
    signature = _signature(text, moment, credentials, scope)
    return f"{host}{path}?{query}&X-Amz-Signature={signature}"


def _canonical_target(target: str, scope: Scope) -> tuple[str, str]:
    path, _, query = target.partition("?")
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query, keep_blank_values=True)
    )
    # S3 is the one service whose paths are not encoded a second time.
    shown = path if scope.service == _S3 else quote(path, safe="/-_.~")
    return shown or "/", "&".join(f"{name}={value}" for name, value in pairs)


def _signature(text: str, moment: str, credentials: Credentials, scope: Scope) -> str:
    key = b"AWS4" + credentials.secret_key.encode()
    for part in (moment[:8], scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()
