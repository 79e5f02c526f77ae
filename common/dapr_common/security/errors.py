"""What can go wrong on the way to an identity; light, so that plaintext programs can name it."""

from __future__ import annotations


class SecuritySettingsError(Exception):
    """Mutual TLS was asked for, but something it needs is missing or cannot be used."""


class IdentityError(Exception):
    """No identity could be had. ``reason`` is the value of the metrics' label."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class UnreachableError(IdentityError):
    """Nobody answers at sentry's address, yet."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "sentry_conn")
