"""Mutual TLS: placement has an identity of sentry's, sidecars are who their certificate says."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from harness.authorities import Authority, now
from harness.placement_process import Placement, PlacementClient
from harness.sentry import Sentry
from harness.tls_tunnel import TlsTunnel

from dapr_common.security.authority import Life, new_bundle
from dapr_common.security.svid import Svid
from dapr_common.security.x509 import spiffe_id, write_certificates, write_private_key
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb

SYSTEM = "dapr-system"


@pytest.fixture(scope="module")
def sentry() -> Iterator[Sentry]:
    bundle = new_bundle("cluster.local", SYSTEM, Life.of(now()))
    with Sentry(bundle=bundle, namespace=SYSTEM) as running:
        yield running


@pytest.fixture(scope="module")
def placement(sentry: Sentry) -> Iterator[Placement]:
    with Placement(
        "--tls-enabled",
        "--trust-domain=cluster.local",
        f"--trust-anchors-file={sentry.credentials / 'ca.crt'}",
        f"--sentry-address=127.0.0.1:{sentry.port}",
        env={"NAMESPACE": SYSTEM},
    ) as running:
        yield running


def context(sentry: Sentry, svid: Svid | None) -> ssl.SSLContext:
    """As the TLS of another make sees it; the name is checked by whoever connects."""
    found = ssl.create_default_context(cadata=sentry.anchors_pem.decode())
    found.check_hostname = False
    found.set_alpn_protocols(["h2"])
    if svid is not None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(write_private_key(svid.key) + write_certificates(svid.chain))
            file.flush()
            found.load_cert_chain(file.name)
    return found


@asynccontextmanager
async def client(
    sentry: Sentry, placement: Placement, svid: Svid | None, app_id: str, namespace: str
) -> AsyncIterator[PlacementClient]:
    with TlsTunnel(placement.port, lambda: context(sentry, svid)) as tunnel:
        address = f"127.0.0.1:{tunnel.port}"
        async with PlacementClient(address, app_id, namespace=namespace) as found:
            yield found


async def identity(sentry: Sentry, app_id: str = "orders", namespace: str = "shop") -> Svid:
    signed = await asyncio.to_thread(lambda: sentry.sign(id=app_id, namespace=namespace))
    return signed.svid


async def test_placement_is_who_it_is(sentry: Sentry, placement: Placement) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", placement.port, ssl=context(sentry, await identity(sentry))
    )
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(ssl.SSLError):  # the server had already begun to speak
        await writer.wait_closed()
    del reader
    from cryptography import x509

    certificate = x509.load_der_x509_certificate(der)
    assert str(spiffe_id(certificate)) == f"spiffe://cluster.local/ns/{SYSTEM}/dapr-placement"
    metrics = await asyncio.to_thread(placement.metrics)
    assert metrics['dapr_placement_identity_total{outcome="issued"}'] >= 1


async def test_a_sidecar_as_itself(sentry: Sentry, placement: Placement) -> None:
    svid = await identity(sentry)
    async with client(sentry, placement, svid, "orders", "shop") as orders:
        await orders.report("A", "dapr.internal.shop.orders.workflow")
        await orders.obey("lock 1", "update 1", "unlock 1")
        # Each message is looked at, not only the first.
        await orders.send(id="other", operation=pb.REPORT)
        assert await orders.status() == (
            grpc.StatusCode.PERMISSION_DENIED,
            "provided app ID other doesn't match the one in the SPIFFE ID (orders)",
        )


@pytest.mark.parametrize(("app_id", "namespace"), [("other", "shop"), ("orders", "other")])
async def test_a_sidecar_as_another(
    sentry: Sentry, placement: Placement, app_id: str, namespace: str
) -> None:
    svid = await identity(sentry)
    async with client(sentry, placement, svid, app_id, namespace) as orders:
        await orders.report("A")
        code, text = await orders.status()
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert "doesn't match the one in the SPIFFE ID" in text


async def test_whoever_has_no_certificate_of_the_authority(
    sentry: Sentry, placement: Placement
) -> None:
    forged = Authority.root().svid("spiffe://public/ns/shop/orders")
    for svid in (None, forged):
        async with client(sentry, placement, svid, "orders", "shop") as nobody:
            assert (await nobody.status())[0] is grpc.StatusCode.UNAVAILABLE
    async with PlacementClient(placement.address, "orders", namespace="shop") as plain:
        assert (await plain.status())[0] is grpc.StatusCode.UNAVAILABLE


async def test_the_anchors_are_waited_for(sentry: Sentry, tmp_path: Path) -> None:
    anchors = tmp_path / "ca.crt"
    server = Placement(
        "--tls-enabled",
        "--trust-domain=cluster.local",
        f"--trust-anchors-file={anchors}",
        f"--sentry-address=127.0.0.1:{sentry.port}",
        env={"NAMESPACE": SYSTEM},
    )
    server.start()
    try:
        await asyncio.to_thread(server.wait_line, "Waiting for the trust anchors")
        assert (await asyncio.to_thread(server.get, "/healthz")).status == 503
        anchors.write_bytes(sentry.anchors_pem)
        await asyncio.to_thread(server.wait_ready)
    finally:
        await asyncio.to_thread(server.stop)
