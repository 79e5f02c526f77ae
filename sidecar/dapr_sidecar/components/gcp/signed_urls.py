"""URLs that open an object of Cloud Storage to whoever has them (V4 signatures). Pure."""

from __future__ import annotations

import hashlib
import urllib.parse
from collections.abc import Callable
from datetime import datetime

_ALGORITHM = "GOOG4-RSA-SHA256"


def signed_url(
    origin: str,
    path: str,
    account: str,
    sign: Callable[[bytes], bytes],
    now: datetime,
    seconds: int,
) -> str:
    """A URL to read what is at ``path``, which is encoded as it goes over the wire.

    ``account`` is the address of the service account whose key ``sign`` has; ``now`` is a moment
    in UTC.
    """
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/auto/storage/goog4_request"
    words = {
        "X-Goog-Algorithm": _ALGORITHM,
        "X-Goog-Credential": f"{account}/{scope}",
        "X-Goog-Date": moment,
        "X-Goog-Expires": str(seconds),
        "X-Goog-SignedHeaders": "host",
    }
    query = "&".join(f"{name}={urllib.parse.quote(words[name], safe='')}" for name in sorted(words))
    host = urllib.parse.urlsplit(origin).netloc
    request = "\n".join(("GET", path, query, f"host:{host}\n", "host", "UNSIGNED-PAYLOAD"))
    digest = hashlib.sha256(request.encode()).hexdigest()
    signature = sign(f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}".encode()).hex()
    return f"{origin}{path}?{query}&X-Goog-Signature={signature}"
