"""A webhook's registration: the API server is told whom to trust, and told again if need be."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from dapr_common.grpc.backoff import Backoff
from dapr_common.kube.api_errors import KubeError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.informer import Informer
from dapr_common.kube.kinds import Kind, KubeObject, Selection
from dapr_common.observe.logs import get_logger
from dapr_common.security.x509 import CertificateError, read_certificates, write_certificates

_LOG = get_logger("dapr.kube.webhooks")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_SPREAD_SECONDS = 1.0  # API servers learn by a watch of what is written
_PLACEHOLDER = "replaceme"
"""The Service's namespace in a CustomResourceDefinition as it is shipped."""

Anchors = tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ``clientConfig`` is: in which object, and the JSON pointer to it there."""

    kind: Kind
    word: str
    """The kind, as messages name it."""
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """What counts of a ``clientConfig``: texts are empty where there is nothing."""

    ca_bundle: str
    namespace: str

    @classmethod
    def at(cls, path: str, body: KubeObject) -> ClientConfig:
        """That of an object."""
        found: Any = body
        for key in path.split("/")[1:]:
            found = _entry(found, key)
        return cls(
            ca_bundle=str(_entry(found, "caBundle") or ""),
            namespace=str(_entry(_entry(found, "service"), "namespace") or ""),
        )


class WebhookRegistration:
    """Keeps ``caBundle`` in order: ``run`` until cancelled, ``publish`` whenever it is another.

    With a ``namespace``, the one of the Service is kept, too: nobody else fills it in. ``ready`` is
    called when the registration is as it should be for the first time. What others write is let be
    as long as our own anchors are in it: several replicas learn of new anchors one after the other,
    and must not undo each other's work. Another control plane's namespace is let be altogether.
    """

    def __init__(
        self,
        client: KubeClient,
        place: Place,
        ready: Callable[[], None] = lambda: None,
        *,
        namespace: str = "",
    ) -> None:
        self._client = client
        self._place = place
        self._ready = ready
        self._namespace = namespace
        self._anchors: Anchors = ()
        self._is_new = False
        self._wake = asyncio.Event()
        self._written = asyncio.Event()
        self._written_at = float("-inf")
        self._said = ""
        selection = Selection(place.kind, fields=f"metadata.name={place.name}")
        self._informer = Informer(client, selection, lambda body: ClientConfig.at(place.path, body))
        self._informer.on_change(lambda _: self._wake.set())

    def publish(self, anchors: Anchors) -> None:
        """From now on the API server is to trust exactly these."""
        self._anchors = anchors
        self._is_new = True
        self._written.clear()
        self._wake.set()

    async def in_effect(self) -> None:
        """Wait until API servers go by what was published last.

        That is a moment after it was written; at once when there is nothing to write it to.
        """
        await self._written.wait()
        since = asyncio.get_running_loop().time() - self._written_at
        await asyncio.sleep(max(_SPREAD_SECONDS - since, 0))

    async def run(self) -> None:
        """Write what is to be written, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._informer.run(), name=f"follow {self._place.name}")
            tasks.create_task(self._write(), name=f"write {self._place.name}")

    async def _write(self) -> None:
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            await self._wake.wait()
            self._wake.clear()
            if (wanted := self._wanted()) is None:
                continue
            try:
                await self._patch(wanted)
            except KubeError as error:
                self._report(error)
                if not (isinstance(error, NotFoundError) and self._informer.synced.is_set()):
                    asyncio.get_running_loop().call_later(backoff.next(), self._wake.set)
            else:
                backoff.reset()

    # --- what to write ----------------------------------------------------------------------

    def _wanted(self) -> Anchors | None:
        """What is to be written; ``None`` when nothing is."""
        if self._is_new:
            return self._anchors
        present = self._informer.get(self._place.name)
        if not self._anchors or present is None or self._is_anothers(present):
            return None
        there = read(present.ca_bundle)
        if set(self._anchors) <= set(there) and present.namespace == (
            self._namespace or present.namespace
        ):
            return None
        _LOG.warning("The clientConfig of %s was changed by somebody else", self._place.name)
        return (*self._anchors, *(one for one in there if one not in self._anchors))

    def _is_anothers(self, present: ClientConfig) -> bool:
        """Two that took it from each other for ever would help nobody."""
        if not self._namespace or present.namespace in ("", _PLACEHOLDER, self._namespace):
            return False
        self._say(
            f"{self._place.name} is in the care of another control plane now, "
            f"in namespace {present.namespace}"
        )
        return True

    async def _patch(self, wanted: Anchors) -> None:
        place, ours = self._place, self._anchors
        text = base64.b64encode(write_certificates(wanted)).decode("ascii")
        patch = [{"op": "add", "path": f"{place.path}/caBundle", "value": text}]
        if self._namespace:
            path = f"{place.path}/service/namespace"
            patch.append({"op": "add", "path": path, "value": self._namespace})
        await self._client.patch(place.kind, place.name, patch, patch_kind="json")
        if self._anchors is ours:  # otherwise others were published meanwhile
            self._is_new = False
            self._written_at = asyncio.get_running_loop().time()
            self._written.set()
        self._said = ""
        _LOG.info("The API server trusts %d certificates at %s", len(wanted), place.name)
        self._ready()

    # --- what is said -----------------------------------------------------------------------

    def _report(self, error: KubeError) -> None:
        place = self._place
        if not isinstance(error, NotFoundError):
            _LOG.error("%s cannot be patched and is tried again: %s", place.name, error)
            return
        self._say(f"Waiting: there is no {place.word} {place.name}; the Helm chart makes it")
        self._written.set()  # nobody is called by it

    def _say(self, text: str) -> None:
        if text != self._said:
            _LOG.warning("%s", text)
        self._said = text


def read(bundle: str) -> Anchors:
    """The certificates of a ``caBundle``; none when it cannot be read."""
    try:
        return read_certificates(base64.b64decode(bundle, validate=True))
    except (binascii.Error, CertificateError):
        return ()


def _entry(found: Any, key: str) -> Any:
    """What is at a key of an object, or at an index of a list; ``None`` when nothing is."""
    if isinstance(found, dict):
        return found.get(key)
    if isinstance(found, list) and int(key) < len(found):
        return found[int(key)]
    return None
