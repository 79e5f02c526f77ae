"""The certificate authority as sentry keeps it in a cluster: a Secret, and a ConfigMap for all.

Kubernetes writes objects one by one, and a sentry that starts while the two hold different trust
anchors makes a new authority that nobody trusts yet. So they are written in sentry's own order,
the Secret first, at once one after the other, with the versions that were read; what cannot be
finished is taken back, and Ctrl-C waits until either is done.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from dapr_cli.errors import CliError
from dapr_common.kube.api_errors import ConflictError, KubeError, NotFoundError, UnreachableError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import CONFIG_MAPS, SECRETS, KubeObject, Selection
from dapr_common.security.authority import BundleError, CaBundle, Names, load_bundle

NAME = "dapr-trust-bundle"
_CA, _ISSUER, _KEY = "ca.crt", "issuer.crt", "issuer.key"
_TRIES, _PAUSE_SECONDS = 5, 1.0


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """Both objects as they were read at about the same time."""

    namespace: str
    secret: KubeObject
    config_map: KubeObject

    def files(self) -> dict[str, bytes]:
        """The Secret's files. Raises ``BundleError``."""
        try:
            data = _data(self.secret).items()
            return {name: base64.b64decode(text, validate=True) for name, text in data}
        except binascii.Error as error:
            raise BundleError(f"Secret {NAME} in {self.namespace} is no base64: {error}") from error

    def authority(self) -> CaBundle:
        """What the Secret holds, also when it has ended. Raises ``BundleError``."""
        files = self.files()
        if missing := [name for name in (_CA, _ISSUER, _KEY) if not files.get(name)]:
            raise BundleError(
                f"Secret {NAME} in namespace {self.namespace} has no {', '.join(missing)}: "
                "sentry fills it when it starts"
            )
        where = f"{NAME}/{{}} in {self.namespace}".format
        return load_bundle(
            ca_crt=files[_CA],
            issuer_crt=files[_ISSUER],
            issuer_key=files[_KEY],
            now=None,
            names=Names(where(_CA), where(_ISSUER), where(_KEY)),
        )

    def agrees(self) -> bool:
        """Whether everybody is told the anchors that sentry has."""
        return _data(self.config_map).get(_CA, "").encode() == self.files().get(_CA, b"")


async def find_bundles(client: KubeClient, namespace: str = "") -> list[TrustBundle]:
    """Every bundle of the cluster, or of one namespace; there should be one."""
    selection = Selection(SECRETS, namespace, fields=f"metadata.name={NAME}")
    secrets = (await client.list_all(selection)).items
    return [await _with_config_map(client, secret) for secret in secrets]


async def find_bundle(client: KubeClient, namespace: str = "") -> TrustBundle:
    """The one bundle there is. Raises ``CliError``."""
    found = await find_bundles(client, namespace)
    if not found:
        where = f"namespace {namespace}" if namespace else "any namespace"
        raise CliError(
            f"there is no Secret {NAME} in {where}", "Is Dapr installed? 'dapr status -k' shows it."
        )
    if len(found) > 1:
        names = ", ".join(bundle.namespace for bundle in found)
        raise CliError(
            f"there are several Secrets {NAME}, in the namespaces {names}",
            "Say which one is meant: --namespace NAME",
        )
    return found[0]


async def replace(client: KubeClient, seen: TrustBundle, new: CaBundle) -> None:
    """Store another authority in place of the one seen, whole or not at all.

    Raises ``CliError`` when somebody else changed it meanwhile, ``KubeError`` when it cannot be
    written; in both cases nothing has changed, unless the error says otherwise.
    """
    writing = asyncio.ensure_future(_replace(client, seen, new))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await writing
        raise


async def _replace(client: KubeClient, seen: TrustBundle, new: CaBundle) -> None:
    files = {_CA: new.anchors_pem, _ISSUER: new.chain_pem, _KEY: new.key_pem}
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    try:
        secret = await client.update(SECRETS, _with_data(seen.secret, data))
    except ConflictError as error:
        raise _changed(seen) from error
    try:
        await _publish(client, seen, new.anchors_pem.decode())
    except (KubeError, CliError) as error:
        await _take_back(client, seen, secret, error)
        raise


async def _publish(client: KubeClient, seen: TrustBundle, anchors: str) -> None:
    """Bring the ConfigMap to what the Secret, just written, says."""
    before, newest = _data(seen.config_map).get(_CA), seen.config_map
    for left in reversed(range(_TRIES)):
        if _data(newest).get(_CA) == anchors:
            return
        if _data(newest).get(_CA) != before:
            raise _changed(seen)
        try:
            await client.update(CONFIG_MAPS, _with_data(newest, {_CA: anchors}))
            return
        except (ConflictError, UnreachableError):
            if not left:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
            newest = await client.get(CONFIG_MAPS, NAME, seen.namespace)


async def _take_back(
    client: KubeClient, seen: TrustBundle, written: KubeObject, cause: Exception
) -> None:
    before = {**written, "data": _data(seen.secret)}
    for left in reversed(range(_TRIES)):
        try:
            await client.update(SECRETS, before)
            return
        except ConflictError:
            return  # somebody else has written it since: theirs stays
        except KubeError as error:
            if not left:
                raise CliError(
                    f"Secret {NAME} in namespace {seen.namespace} has the new certificates, its "
                    f"ConfigMap has not: {cause}; and it cannot be taken back: {error}",
                    "Run the command again before sentry restarts: a sentry that starts now makes "
                    "a new certificate authority.",
                ) from error
            await asyncio.sleep(_PAUSE_SECONDS)


async def _with_config_map(client: KubeClient, secret: KubeObject) -> TrustBundle:
    namespace = str(secret["metadata"]["namespace"])
    try:
        config_map = await client.get(CONFIG_MAPS, NAME, namespace)
    except NotFoundError:
        config_map = {}
    return TrustBundle(namespace, secret, config_map)


def _changed(seen: TrustBundle) -> CliError:
    return CliError(
        f"{NAME} in namespace {seen.namespace} was changed by somebody else meanwhile; "
        "nothing was written",
        "Run the command again.",
    )


def _data(body: KubeObject) -> dict[str, str]:
    return dict(body.get("data") or {})


def _with_data(body: KubeObject, data: Mapping[str, str]) -> KubeObject:
    return {**body, "data": {**_data(body), **data}}
