"""The webhook's registration: the API server is told whom to trust, and told again if need be."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable

from cryptography import x509

from dapr_common.grpc.backoff import Backoff
from dapr_common.kube.api_errors import KubeError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.informer import Informer
from dapr_common.kube.kinds import MUTATING_WEBHOOKS, KubeObject, Selection
from dapr_common.observe.logs import get_logger
from dapr_common.security.x509 import CertificateError, read_certificates, write_certificates

NAME = "dapr-sidecar-injector"
_LOG = get_logger("dapr.injector")
_PATH = "/webhooks/0/clientConfig/caBundle"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0

Anchors = tuple[x509.Certificate, ...]


class WebhookConfiguration:
    """Keeps ``caBundle`` in order: ``run`` until cancelled, ``publish`` whenever it is another.

    ``ready`` is called when the registration is as it should be for the first time. What others
    write is let be as long as our own anchors are in it: several injectors learn of new anchors
    one after the other, and must not undo each other's work.
    """

    def __init__(self, client: KubeClient, ready: Callable[[], None], name: str = NAME) -> None:
        self._client = client
        self._ready = ready
        self._name = name
        self._anchors: Anchors = ()
        self._is_new = False
        self._wake = asyncio.Event()
        self._said_missing = False
        selection = Selection(MUTATING_WEBHOOKS, fields=f"metadata.name={name}")
        self._informer = Informer(client, selection, _ca_bundle)
        self._informer.on_change(lambda _: self._wake.set())

    def publish(self, anchors: Anchors) -> None:
        """From now on the API server is to trust exactly these."""
        self._anchors = anchors
        self._is_new = True
        self._wake.set()

    async def run(self) -> None:
        """Write what is to be written, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._informer.run(), name="follow the webhook configuration")
            tasks.create_task(self._write(), name="write the webhook configuration")

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
                asyncio.get_running_loop().call_later(backoff.next(), self._wake.set)
            else:
                backoff.reset()

    def _wanted(self) -> Anchors | None:
        """What is to be written; ``None`` when nothing is."""
        if self._is_new:
            return self._anchors
        present = self._informer.get(self._name)
        if present is None or set(self._anchors) <= set(there := read(present)):
            return None
        _LOG.warning("The caBundle of %s was changed by somebody else", self._name)
        return (*self._anchors, *(one for one in there if one not in self._anchors))

    async def _patch(self, wanted: Anchors) -> None:
        text = base64.b64encode(write_certificates(wanted)).decode("ascii")
        patch = [{"op": "add", "path": _PATH, "value": text}]
        await self._client.patch(MUTATING_WEBHOOKS, self._name, patch, patch_kind="json")
        if wanted == self._anchors:  # otherwise others were published meanwhile
            self._is_new = False
        self._said_missing = False
        _LOG.info("The API server trusts %d certificates at %s", len(wanted), self._name)
        self._ready()

    def _report(self, error: KubeError) -> None:
        if not isinstance(error, NotFoundError):
            _LOG.error("%s cannot be patched and is tried again: %s", self._name, error)
        elif not self._said_missing:
            self._said_missing = True
            _LOG.warning(
                "Waiting: there is no MutatingWebhookConfiguration %s; the Helm chart makes it",
                self._name,
            )


def read(bundle: str) -> Anchors:
    """The certificates of a ``caBundle``; none when it cannot be read."""
    try:
        return read_certificates(base64.b64decode(bundle, validate=True))
    except (binascii.Error, CertificateError):
        return ()


def _ca_bundle(body: KubeObject) -> str:
    webhooks = body.get("webhooks") or [{}]
    return str((webhooks[0].get("clientConfig") or {}).get("caBundle") or "")
