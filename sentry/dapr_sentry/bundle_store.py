"""Where the certificate authority is kept between starts: raw files, whatever holds them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import PurePath

from dapr_common.security.authority import Names


class StoreError(Exception):
    """The store cannot be read or written: which one, what is wrong, what to do."""


class BundleConflictError(StoreError):
    """Another sentry stored a bundle since this one loaded: load again and use that."""


@dataclass(frozen=True, slots=True)
class FileNames(Names):
    """What all five files are called; they may be absolute paths."""

    jwt_key: str = "jwt.key"
    jwks: str = "jwks.json"

    def as_keys(self) -> FileNames:
        """Without directories, as they are the keys of the Kubernetes Secret."""
        paths = (self.ca_crt, self.issuer_crt, self.issuer_key, self.jwt_key, self.jwks)
        return FileNames(*(PurePath(path).name for path in paths))


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """The files as bytes. ``jwt_key`` and ``jwks`` are ``None`` when they are not there."""

    ca_crt: bytes
    issuer_crt: bytes
    issuer_key: bytes = field(repr=False)
    jwt_key: bytes | None = field(default=None, repr=False)
    jwks: bytes | None = None


class BundleStore(ABC):
    """Keeps one bundle. Every call raises ``StoreError`` when the store cannot be reached."""

    @abstractmethod
    async def load(self) -> StoredBundle | None:
        """What is stored, or ``None`` when any of the three X.509 files is missing."""

    @abstractmethod
    async def save(self, bundle: StoredBundle) -> None:
        """Store all of it; files that are ``None`` are left as they are.

        Raises ``BundleConflictError`` when what was loaded is not what is stored any more.
        """

    @abstractmethod
    def changes(self) -> AsyncIterator[None]:
        """Yields when what is stored may have changed, until cancelled; never ends by itself."""

    async def close(self) -> None:
        """Free everything; safe to call twice."""
