"""NATS' decentralized credentials: a JWT, and answers signed with its seed."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dapr_sidecar.components.metadata import SettingsError

# Base32 of: two bytes that say what the seed is for, the seed, two bytes of a checksum.
_SEED_BYTES = 36
_KEY = slice(2, 34)


def jwt_options(jwt: str, seed: str) -> dict[str, Any]:
    """What the client library wants to know; nothing without a JWT. Raises ``SettingsError``."""
    if not jwt and not seed:
        return {}
    if not jwt or not seed:
        absent = "seedKey" if jwt else "jwt"
        raise SettingsError(f"missing required metadata field '{absent}': jwt goes with seedKey")
    sign = _signer(seed)
    return {"user_jwt_cb": lambda: bytearray(jwt.encode()), "signature_cb": sign}


def _signer(seed: str) -> Callable[[str], bytes]:
    text = seed.strip()
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
        if not text.startswith("S") or len(raw) != _SEED_BYTES:
            raise ValueError
        key = Ed25519PrivateKey.from_private_bytes(raw[_KEY])
    except ValueError:
        raise SettingsError(
            "invalid metadata field 'seedKey': expected a seed of NATS, which begins with S"
        ) from None
    return lambda nonce: base64.b64encode(key.sign(nonce.encode()))
