"""The certificate authority as files of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import stat
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from dapr_common.aio.watch import watching
from dapr_common.observe.logs import get_logger
from dapr_common.security.private_files import write_private
from dapr_sentry.bundle_store import BundleStore, FileNames, StoredBundle, StoreError

_LOG = get_logger("dapr.sentry.store")
_MOST_BYTES = 1 << 20
_BATCH_SECONDS = 1.0  # a set of files is copied one by one
_LOOK_SECONDS = 60.0


class FileBundleStore(BundleStore):
    """Files in one directory, or elsewhere where a name is an absolute path.

    ``beside`` are files that belong to the same set for ``changes``, such as the Configuration.
    """

    def __init__(
        self,
        directory: Path,
        names: FileNames,
        *,
        beside: Iterable[Path] = (),
        batch_seconds: float = _BATCH_SECONDS,
    ) -> None:
        self._ca_crt = directory / names.ca_crt
        self._issuer_crt = directory / names.issuer_crt
        self._issuer_key = directory / names.issuer_key
        self._jwt_key = directory / names.jwt_key
        self._jwks = directory / names.jwks
        self._batch_seconds = batch_seconds
        own = (self._ca_crt, self._issuer_crt, self._issuer_key, self._jwt_key, self._jwks)
        self._directories = sorted({str(path.parent) for path in (*own, *beside)})

    async def load(self) -> StoredBundle | None:
        ca_crt, issuer_crt, issuer_key = (
            _read(path) for path in (self._ca_crt, self._issuer_crt, self._issuer_key)
        )
        if ca_crt is None or issuer_crt is None or issuer_key is None:
            return None
        return StoredBundle(ca_crt, issuer_crt, issuer_key, _read(self._jwt_key), _read(self._jwks))

    async def save(self, bundle: StoredBundle) -> None:
        files = {
            self._issuer_key: bundle.issuer_key,
            self._issuer_crt: bundle.issuer_crt,
            self._ca_crt: bundle.ca_crt,
            self._jwt_key: bundle.jwt_key,
            self._jwks: bundle.jwks,
        }
        try:
            write_private({path: one for path, one in files.items() if one is not None})
        except OSError as error:
            raise StoreError(
                f"the certificate authority cannot be written to {error.filename}: "
                f"{error.strerror}: name a directory that sentry may write with "
                "--issuer-credentials, or put ca.crt, issuer.crt and issuer.key there"
            ) from error

    async def changes(self) -> AsyncIterator[None]:
        """What happens within a second is one change; once a minute there may be one anyway."""
        changed = asyncio.Event()
        with watching(changed, _LOG) as follow:
            follow(self._directories)
            changed.set()  # what changed between the first load and this moment
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), _LOOK_SECONDS)
                await asyncio.sleep(self._batch_seconds)
                changed.clear()
                follow(self._directories)
                yield


def _read(path: Path) -> bytes | None:
    """The content; ``None`` when there is no such file. Raises ``StoreError``."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            raise StoreError(f"{path} is no file, or larger than {_MOST_BYTES >> 20} MiB")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
