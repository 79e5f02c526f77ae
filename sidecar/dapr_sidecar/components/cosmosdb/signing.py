"""What Cosmos DB wants in the ``authorization`` header. Pure."""

from __future__ import annotations

import base64
import hmac
from urllib.parse import quote


def by_key(verb: str, kind: str, link: str, moment: str, key: bytes) -> str:
    """A signature with the account's key, as the REST reference describes it.

    ``kind`` is the kind of resource, ``link`` what is asked for or its parent, ``moment`` the text
    of the ``x-ms-date`` header.
    """
    text = f"{verb.lower()}\n{kind.lower()}\n{link}\n{moment.lower()}\n\n"
    signature = base64.b64encode(hmac.digest(key, text.encode(), "sha256")).decode()
    return quote(f"type=master&ver=1.0&sig={signature}", safe="")


def by_token(token: str) -> str:
    """The same for a token of Microsoft Entra ID."""
    return quote(f"type=aad&ver=1.0&sig={token}", safe="")
