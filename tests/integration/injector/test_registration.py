"""Whom the API server trusts: at start, when somebody else writes, and through rotations."""

from __future__ import annotations

import asyncio
import base64
from contextlib import AsyncExitStack
from typing import Self

import pytest
from harness.authorities import now
from harness.injector import NAME, Injector, InjectorPlace
from harness.sentry import Sentry

from dapr_common.kube.kinds import CONFIG_MAPS, CONFIGURATIONS, MUTATING_WEBHOOKS, SECRETS
from dapr_common.security.authority import CaBundle, Life, new_bundle
from dapr_common.security.rotation import rotated
from dapr_common.security.x509 import read_certificates, read_private_key

BUNDLE = "dapr-trust-bundle"
PATH = "/webhooks/0/clientConfig/caBundle"


async def write_ca_bundle(place: InjectorPlace, pem: str) -> None:
    text = base64.b64encode(pem.encode()).decode()
    patch = [{"op": "add", "path": PATH, "value": text}]
    await place.cluster.client.patch(MUTATING_WEBHOOKS, NAME, patch, patch_kind="json")


async def until_trusted(place: InjectorPlace, pem: str) -> None:
    wanted = base64.b64encode(pem.encode()).decode()
    async with asyncio.timeout(40):
        while await place.ca_bundle() != wanted:
            await asyncio.sleep(0.02)


async def stored(place: InjectorPlace) -> CaBundle:
    secret, _ = await place.cluster.bundle(place.namespace)
    return CaBundle(
        read_certificates(secret["ca.crt"].encode()),
        read_certificates(secret["issuer.crt"].encode()),
        read_private_key(secret["issuer.key"].encode()),
    )


async def store(place: InjectorPlace, bundle: CaBundle) -> None:
    """As a person rotates: Secret, ConfigMap, and later the kubelet brings it to the pods."""
    files = {
        "ca.crt": bundle.anchors_pem,
        "issuer.crt": bundle.chain_pem,
        "issuer.key": bundle.key_pem,
    }
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    client = place.cluster.client
    await client.patch(SECRETS, BUNDLE, {"data": data}, place.namespace)
    data = {"ca.crt": bundle.anchors_pem.decode()}
    await client.patch(CONFIG_MAPS, BUNDLE, {"data": data}, place.namespace)


class Stream:
    """Pods made one after the other, each over a connection of its own, until it is left."""

    def __init__(self, place: InjectorPlace) -> None:
        self.place = place
        self.made = 0
        self._left = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._left.set()
        await self._task

    async def _run(self) -> None:
        while not self._left.is_set():
            made = await self.place.create(f"orders-{self.made}")
            assert made.has_sidecar, made.message
            self.made += 1


async def test_what_others_write_is_mended(place: InjectorPlace, injector: Injector) -> None:
    anchors = await place.project()
    assert base64.b64decode(await place.ca_bundle()).decode() == anchors
    await write_ca_bundle(place, "")
    await until_trusted(place, anchors)
    stranger = new_bundle("other", "other", Life.of(now())).anchors_pem.decode()
    await write_ca_bundle(place, stranger)
    await until_trusted(place, anchors + stranger)
    await place.until_injected()


async def test_one_that_is_made_anew_is_taken_care_of(
    place: InjectorPlace, injector: Injector
) -> None:
    await place.cluster.client.delete(MUTATING_WEBHOOKS, NAME)
    await place.register()
    await place.until_injected()


@pytest.mark.slow
@pytest.mark.parametrize("old_is_kept", [True, False], ids=["bridged", "all-new"])
async def test_no_pod_fails_while_the_root_rotates(place: InjectorPlace, old_is_kept: bool) -> None:
    spec = {"spec": {"mtls": {"workloadCertTTL": "20s", "allowedClockSkew": "1s"}}}
    await place.cluster.client.patch(CONFIGURATIONS, "daprsystem", spec, place.namespace)
    async with await place.sentry() as sentry:
        await place.project()
        await place.register()
        async with AsyncExitStack() as stack:
            injector = await stack.enter_async_context(place.injector(sentry))
            await place.until_injected()
            stream = await stack.enter_async_context(Stream(place))
            before = await stored(place)
            life = Life.of(now())
            after = (
                rotated(before, now(), life)
                if old_is_kept
                else new_bundle("cluster.local", place.namespace, life)
            )
            await store(place, after)
            await asyncio.to_thread(sentry.wait_line, "The issuer certificate has changed")
            anchors = await place.project()
            # Renewed twice: the certificate before the last may have been on its way already.
            seen = len([line for line in injector.lines if "is valid until" in line])
            await asyncio.to_thread(injector.wait_lines, "is valid until", seen + 2, 60)
            await until_trusted(place, anchors)
            done = stream.made
            assert done > 5, "pods were made meanwhile"
            async with asyncio.timeout(40):
                while stream.made < done + 5:
                    await asyncio.sleep(0.05)
        made = await place.create("never", dry_run=True)
        assert made.status == 500, "the injector was asked: it is gone now, and the policy is Fail"


async def test_first_install_in_the_worst_order(place: InjectorPlace) -> None:
    """Nothing is there yet: no trust anchors, no sentry, no daprsystem, no registration."""
    await place.cluster.client.delete(CONFIGURATIONS, "daprsystem", place.namespace)
    sentry = await place.sentry()
    injector = place.injector(sentry, ready=False)
    async with injector:
        await asyncio.to_thread(injector.wait_line, "Waiting for the trust anchors")
        assert injector.health() == 503
        await place.cluster.configuration(place.namespace, "daprsystem", {"mtls": {}})
        async with sentry:
            await place.project()
            await asyncio.to_thread(injector.wait_line, "no MutatingWebhookConfiguration")
            assert injector.health() == 503
            await place.register()
            await place.until_injected()
            async with asyncio.timeout(40):
                while injector.health() != 200:
                    await asyncio.sleep(0.05)


async def test_a_restart_is_the_same_injector(place: InjectorPlace, sentry: Sentry) -> None:
    await place.register(policy="Ignore")
    async with place.injector(sentry):
        await place.until_injected()
    between = await place.create("between")
    assert between.status == 201
    assert not between.has_sidecar
    async with place.injector(sentry):
        await place.until_injected()
