"""The certificate authority in the cluster: a Secret with everything, a ConfigMap for all to read.

The chart creates both, empty; sentry only reads and updates them. Every write says which version
it replaces: of several sentries that start together, one's authority is stored and the others
take it over.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dapr_common.aio.watch import watching
from dapr_common.kube.api_errors import ConflictError, KubeError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.informer import Informer
from dapr_common.kube.kinds import CONFIG_MAPS, SECRETS, Kind, KubeObject, Selection
from dapr_common.observe.logs import get_logger
from dapr_sentry.bundle_store import (
    BundleConflictError,
    BundleStore,
    FileNames,
    StoredBundle,
    StoreError,
)

NAME = "dapr-trust-bundle"
_ANCHORS, _JWKS = "ca.crt", "jwks.json"  # the ConfigMap's keys, whatever the files are called
_LOG = get_logger("dapr.sentry.store")
_SETTLE_SECONDS = 10.0
_SETTLE_PAUSE_SECONDS = 1.0
_LOOK_SECONDS, _AGAIN_SECONDS = 60.0, 2.0
_WRITES = 5


@dataclass(frozen=True, slots=True)
class _Seen:
    """Both objects as they were read at about the same time."""

    secret: KubeObject
    config_map: KubeObject

    @property
    def anchors(self) -> str | None:
        """The trust anchors that everybody else is told."""
        return _data(self.config_map).get(_ANCHORS)


class KubernetesStore(BundleStore):
    """``mounted`` is the directory the chart mounts the Secret at: it tells of changes.

    ``beside`` are other objects that ``changes`` follows, such as the Configuration.
    ``settle_seconds`` is how long ``load`` waits when Secret and ConfigMap disagree. They are
    written one after the other, by another sentry as by whoever rotates by hand; only when they
    stay different is what is stored not used.
    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        names: FileNames,
        *,
        mounted: Path | None = None,
        beside: Selection | None = None,
        settle_seconds: float = _SETTLE_SECONDS,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._names = names
        self._mounted = mounted
        self._beside = beside
        self._settle_seconds = settle_seconds
        self._look_seconds = look_seconds
        self._seen: _Seen | None = None
        self._used: StoredBundle | None = None

    async def load(self) -> StoredBundle | None:
        self._used = None
        loop = asyncio.get_running_loop()
        until = loop.time() + self._settle_seconds
        while True:
            seen = self._seen = await self._read()
            stored = self._bundle(seen.secret)
            if stored is None or _agree(seen, stored):
                self._used = stored
                return stored
            if loop.time() > until:
                _LOG.warning(
                    "Secret and ConfigMap %s in %s hold different trust anchors: neither is used",
                    NAME,
                    self._namespace,
                )
                return None
            await asyncio.sleep(_SETTLE_PAUSE_SECONDS)

    async def save(self, bundle: StoredBundle) -> None:
        seen = self._seen if self._seen is not None else await self._read()
        files = {
            self._names.ca_crt: bundle.ca_crt,
            self._names.issuer_crt: bundle.issuer_crt,
            self._names.issuer_key: bundle.issuer_key,
            self._names.jwt_key: bundle.jwt_key,
            self._names.jwks: bundle.jwks,
        }
        data = {name: _encoded(content) for name, content in files.items() if content is not None}
        try:
            secret = await self._update(SECRETS, seen.secret, data)
        except ConflictError as error:
            raise self._conflict() from error
        self._seen = await self._publish(_Seen(secret, seen.config_map), bundle)
        self._used = self._bundle(secret)

    async def changes(self) -> AsyncIterator[None]:
        """Follows the ConfigMap and the mounted Secret, and looks every minute anyway.

        The chart lets nobody watch the Secret itself. A change counts once both objects agree.
        """
        changed, beside_changed = asyncio.Event(), asyncio.Event()
        following = self._follow(changed, beside_changed)
        pause = self._look_seconds
        try:
            with watching(changed, _LOG) as follow:
                while True:
                    if self._mounted is not None:
                        follow([str(self._mounted)])
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), pause)
                    changed.clear()
                    is_other = await self._is_other()
                    pause = self._look_seconds if is_other is not None else _AGAIN_SECONDS
                    if beside_changed.is_set() or is_other:
                        beside_changed.clear()
                        yield
        finally:
            for task in following:
                task.cancel()
            await asyncio.wait(following)

    def _follow(
        self, changed: asyncio.Event, beside_changed: asyncio.Event
    ) -> list[asyncio.Task[None]]:
        """Follow in the background: every change sets the first event, some the second, too."""
        own = Selection(CONFIG_MAPS, self._namespace, fields=f"metadata.name={NAME}")
        informers = [Informer(self._client, own, _data)]
        if self._beside is not None:
            beside = Informer(self._client, self._beside, lambda body: body.get("spec") or {})
            beside.on_change(lambda _: beside_changed.set())
            informers.append(beside)
        for informer in informers:
            informer.on_change(lambda _: changed.set())
        loop = asyncio.get_running_loop()
        return [loop.create_task(one.run(), name="follow the bundle") for one in informers]

    # --- the two objects --------------------------------------------------------------------

    async def _is_other(self) -> bool | None:
        """Whether a bundle is stored that was neither loaded nor saved here; ``None``: unknown."""
        try:
            seen = await self._read()
            stored = self._bundle(seen.secret)
        except StoreError as error:
            _LOG.warning(
                "the stored trust bundle cannot be compared with the one in use: %s", error
            )
            return None
        return stored is not None and _agree(seen, stored) and stored != self._used

    async def _read(self) -> _Seen:
        return _Seen(await self._get(SECRETS, "Secret"), await self._get(CONFIG_MAPS, "ConfigMap"))

    async def _get(self, kind: Kind, word: str) -> KubeObject:
        try:
            return await self._client.get(kind, NAME, self._namespace)
        except NotFoundError as error:
            raise StoreError(
                f"there is no {word} {NAME} in namespace {self._namespace}: install it with the "
                "Helm chart, or create it empty"
            ) from error
        except KubeError as error:
            raise StoreError(
                f"{word} {NAME} in namespace {self._namespace} cannot be read: {error}"
            ) from error

    async def _publish(self, seen: _Seen, bundle: StoredBundle) -> _Seen:
        """Bring the ConfigMap to what the Secret, just written, says."""
        data = {_ANCHORS: bundle.ca_crt.decode()}
        if bundle.jwks is not None:
            data[_JWKS] = bundle.jwks.decode()
        for _ in range(_WRITES):
            try:
                config_map = await self._update(CONFIG_MAPS, seen.config_map, data)
                return _Seen(seen.secret, config_map)
            except ConflictError:
                newest = await self._read()
                if _version(newest.secret) != _version(seen.secret):
                    raise self._conflict() from None
                seen = newest
        raise self._conflict()

    async def _update(self, kind: Kind, body: KubeObject, data: Mapping[str, str]) -> KubeObject:
        """Raises ``ConflictError`` when somebody else changed the object since it was read."""
        try:
            return await self._client.update(kind, {**body, "data": {**_data(body), **data}})
        except ConflictError:
            raise
        except KubeError as error:
            raise StoreError(f"{NAME} in {self._namespace} cannot be updated: {error}") from error

    def _conflict(self) -> BundleConflictError:
        return BundleConflictError(
            f"{NAME} in namespace {self._namespace} was changed by somebody else meanwhile"
        )

    def _bundle(self, secret: KubeObject) -> StoredBundle | None:
        files = {name: self._decoded(name, text) for name, text in _data(secret).items() if text}
        ca_crt = files.get(self._names.ca_crt)
        issuer_crt = files.get(self._names.issuer_crt)
        issuer_key = files.get(self._names.issuer_key)
        if ca_crt is None or issuer_crt is None or issuer_key is None:
            return None
        return StoredBundle(
            ca_crt=ca_crt,
            issuer_crt=issuer_crt,
            issuer_key=issuer_key,
            jwt_key=files.get(self._names.jwt_key),
            jwks=files.get(self._names.jwks),
        )

    def _decoded(self, name: str, text: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise StoreError(f"Secret {NAME}: {name} is no base64: {error}") from error


def _agree(seen: _Seen, stored: StoredBundle) -> bool:
    return seen.anchors is not None and seen.anchors.encode() == stored.ca_crt


def _data(body: KubeObject) -> dict[str, str]:
    return dict(body.get("data") or {})


def _version(body: KubeObject) -> str:
    return str(body["metadata"]["resourceVersion"])


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
