"""OAuth 1.0a: the header that says for which user of which app a request is (RFC 5849)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Keys:
    """An app's keys, and those with which it acts for a user."""

    consumer_key: str = field(repr=False)
    consumer_secret: str = field(repr=False)
    token: str = field(repr=False)
    token_secret: str = field(repr=False)


def encode(text: str) -> str:
    """Percent-encode all but letters, digits and ``-._~``."""
    return quote(text, safe="-._~")


def authorization(
    method: str, url: str, query: Mapping[str, str], keys: Keys, *, nonce: str, seconds: int
) -> str:
    """The value of the header. ``url`` is without the query; ``seconds`` is the time since 1970.

    ``query`` has every parameter of the URL and of a form; a JSON body takes no part.
    """
    own = {
        "oauth_consumer_key": keys.consumer_key,
        "oauth_nonce": nonce,
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": str(seconds),
        "oauth_token": keys.token,
        "oauth_version": "1.0",
    }
    own["oauth_signature"] = _signature(method, url, {**query, **own}, keys)
    return "OAuth " + ", ".join(f'{name}="{encode(value)}"' for name, value in sorted(own.items()))


def _signature(method: str, url: str, words: Mapping[str, str], keys: Keys) -> str:
    pairs = sorted((encode(name), encode(value)) for name, value in words.items())
    together = "&".join(f"{name}={value}" for name, value in pairs)
    text = "&".join((method.upper(), encode(url), encode(together)))
    key = f"{encode(keys.consumer_secret)}&{encode(keys.token_secret)}"
    return base64.b64encode(hmac.digest(key.encode(), text.encode(), hashlib.sha1)).decode()
