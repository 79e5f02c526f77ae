"""Client-side encryption of stored values: AES-GCM, the key's name travels with the value."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dapr_common.kube import resources
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import Json, StateValue

_SEPARATOR = b"||"
_NONCE_BYTES = 12


class DecryptionError(Exception):
    """A stored value cannot be decrypted with the configured keys."""


@dataclass(frozen=True, slots=True)
class _Key:
    name: bytes
    cipher: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Encryption:
    """Encrypts with the primary key, decrypts with either."""

    primary: _Key
    secondary: _Key | None

    @classmethod
    def of(cls, manifest: resources.Component, properties: Mapping[str, str]) -> Encryption | None:
        """The keys of a manifest; ``None`` when it names none. Raises ``SettingsError``."""
        primary = _key("primaryEncryptionKey", manifest, properties)
        if primary is None:
            return None
        return cls(primary, _key("secondaryEncryptionKey", manifest, properties))

    def encrypt(self, value: StateValue) -> bytes:
        """The stored form of a value; strings are encrypted without their quotes."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self.primary.cipher.encrypt(nonce, _plaintext(value), None)
        return base64.b64encode(nonce + sealed) + _SEPARATOR + self.primary.name

    def decrypt(self, stored: bytes) -> bytes:
        """The plaintext of a stored value. Raises ``DecryptionError``."""
        if not stored:
            return stored
        encoded, separator, name = stored.rpartition(_SEPARATOR)
        if not separator:
            raise DecryptionError("the value is not encrypted: it names no key")
        key = next((k for k in (self.primary, self.secondary) if k and k.name == name), None)
        if key is None:
            shown = name.decode("utf-8", "replace")
            raise DecryptionError(f"the value was encrypted with the unknown key '{shown}'")
        try:
            raw = base64.b64decode(encoded, validate=True)
            plain: bytes = key.cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None)
        except (binascii.Error, ValueError, _invalid_tag()) as error:
            raise DecryptionError("the value cannot be decrypted: it was changed") from error
        return plain


def _invalid_tag() -> type[Exception]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag


def _plaintext(value: StateValue) -> bytes:
    if not isinstance(value, Json):
        return value
    if isinstance(value.value, str):
        return value.value.encode()
    return encoding.compact(value.value)


def _key(
    field_name: str, manifest: resources.Component, properties: Mapping[str, str]
) -> _Key | None:
    entry = next((e for e in manifest.metadata if e.name.lower() == field_name.lower()), None)
    if entry is None or entry.secret_key_ref is None:
        return None
    text = properties.get(field_name.lower())
    if text is None:
        if manifest.secret_store:
            raise SettingsError(
                f"invalid metadata field '{field_name}': secret "
                f"'{entry.secret_key_ref.name}' was not found in '{manifest.secret_store}'"
            )
        return None  # no secret store at all: Dapr leaves encryption off
    name = entry.secret_key_ref.name.encode()
    if _SEPARATOR in name:
        raise SettingsError(
            f"invalid metadata field '{field_name}': the name of the secret can't contain '||': "
            "what it encrypts could not be decrypted"
        )
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        cipher = AESGCM(bytes.fromhex(text))
    except ValueError:
        raise SettingsError(
            f"invalid metadata field '{field_name}': expected a key of 128, 192 or 256 bits in "
            "hexadecimal"
        ) from None
    return _Key(name, cipher)
