"""No identity is issued outside the caller's proven namespace and id, whatever anybody sends."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from harness.authorities import authority, brought
from hypothesis import given, settings
from hypothesis import strategies as st

from dapr_common.grpc.errors import RpcError
from dapr_common.observe.metrics import Registry
from dapr_common.security.authority import key_usage
from dapr_common.security.x509 import (
    new_csr,
    new_private_key,
    read_certificates,
    spiffe_id,
)
from dapr_common.wire.dapr.proto.sentry.v1.sentry_pb2 import (
    SignCertificateRequest,
    SignCertificateResponse,
)
from dapr_sentry.ca import dns_names
from dapr_sentry.metrics import SentryMetrics
from dapr_sentry.service import Issuing, SentryService
from dapr_sentry.validators.base import ValidationError, Validator

CONTROL_PLANE = "dapr-system"
CA = authority(brought())
KEY = new_private_key("ed25519")  # its signatures are always the same, as hypothesis wants it
CSR = new_csr(KEY)
ALLOWED = {
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
    x509.AuthorityKeyIdentifier,
}


@dataclass(frozen=True)
class Proof:
    """What a caller has proven to be."""

    trust_domain: str
    namespace: str
    app_id: str


class Prover(Validator):
    """Knows who calls, as the real validators do; may also break, or answer nonsense."""

    kind = SignCertificateRequest.KUBERNETES

    def __init__(self, proof: Proof, failure: Exception | None) -> None:
        self.proof = proof
        self.failure = failure

    async def validate(self, request: SignCertificateRequest) -> str:
        if self.failure is not None:
            raise self.failure
        if (request.namespace, request.id) != (self.proof.namespace, self.proof.app_id):
            raise ValidationError("somebody else")
        return self.proof.trust_domain


# --- what may be sent ---------------------------------------------------------------------------

tidy = st.sampled_from(["orders", "shop", "dapr-operator", "dapr-injector", CONTROL_PLANE, "a"])
tricks = st.sampled_from(
    ["a/b", "../x", ".", "..", "a%2fb", "a\n", "a\0b", "spiffe://x/ns/y/z", "ä", " a", "a?b#c", ""]
)
words = st.one_of(tidy, tidy, tidy, tricks, st.text(max_size=70))
domains = st.one_of(
    st.sampled_from(["public", "cluster.local", "x.y"]),
    st.sampled_from(["spiffe://x.y/z", "A B", "", "a/ns/b/c", "a@b"]),
    st.text(max_size=20),
)
proofs = st.builds(Proof, domains, words, words)
failures = st.sampled_from([None, None, None, ValidationError("no"), RuntimeError("broken")])

ascii_words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
general_names = st.one_of(
    st.builds(x509.DNSName, ascii_words),
    st.just(x509.RFC822Name("root@example.com")),
    st.builds(
        x509.UniformResourceIdentifier,
        st.sampled_from(["spiffe://cluster.local/ns/dapr-system/dapr-sentry", "https://x"]),
    ),
    st.builds(x509.IPAddress, st.just(ipaddress.ip_address("10.0.0.1"))),
)
extensions = st.lists(
    st.one_of(
        st.builds(x509.SubjectAlternativeName, st.lists(general_names, min_size=1, max_size=4)),
        st.just(x509.BasicConstraints(ca=True, path_length=None)),
        st.just(key_usage(cert_sign=True, crl_sign=True)),
        st.just(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])),
        st.just(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")),
    ),
    max_size=4,
    unique_by=type,
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A signed request that asks for anything, now and then with a byte changed."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, draw(ascii_words))])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension in draw(extensions):
        builder = builder.add_extension(extension, critical=draw(st.booleans()))
    pem = bytearray(builder.sign(KEY, None).public_bytes(Encoding.PEM))
    if draw(st.integers(0, 5)) == 0:
        pem[draw(st.integers(0, len(pem) - 1))] = draw(st.integers(0, 255))
    return bytes(pem)


@st.composite
def asked(draw: st.DrawFn, proof: Proof) -> SignCertificateRequest:
    """For oneself, or for somebody else."""
    return SignCertificateRequest(
        id=draw(st.one_of(st.just(proof.app_id), st.just(proof.app_id), words)),
        namespace=draw(st.one_of(st.just(proof.namespace), st.just(proof.namespace), words)),
        trust_domain=draw(domains),
        token=draw(st.sampled_from(["", "token"])),
        certificate_signing_request=CSR,
        token_validator=draw(st.sampled_from([0, 0, 0, 2, 2, 2, 1, 3])),
    )


# --- the properties -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@settings(max_examples=120, deadline=None)
@given(data=st.data(), proof=proofs, failure=failures)
def test_only_the_proven_identity_is_issued(
    runner: asyncio.Runner, data: st.DataObject, proof: Proof, failure: Exception | None
) -> None:
    request = data.draw(asked(proof))
    response = _answer(runner, Prover(proof, failure), request)
    if response is not None:
        assert failure is None
        _is_exactly(proof, request, response)


@settings(max_examples=40, deadline=None)
@given(csr=requests(), app_id=tidy, namespace=tidy)
def test_nothing_of_a_request_shows_up_but_its_key(
    runner: asyncio.Runner, csr: bytes, app_id: str, namespace: str
) -> None:
    proof = Proof("public", namespace, app_id)
    request = SignCertificateRequest(
        id=app_id, namespace=namespace, certificate_signing_request=csr
    )
    response = _answer(runner, Prover(proof, None), request)
    if response is not None:
        _is_exactly(proof, request, response)


def test_who_proves_an_identity_gets_it(runner: asyncio.Runner) -> None:
    for namespace in ("shop", CONTROL_PLANE):
        proof = Proof("cluster.local", namespace, "dapr-injector")
        request = SignCertificateRequest(
            id="dapr-injector", namespace=namespace, certificate_signing_request=CSR
        )
        response = _answer(runner, Prover(proof, None), request)
        assert response is not None
        _is_exactly(proof, request, response)


def _answer(
    runner: asyncio.Runner, prover: Prover, request: SignCertificateRequest
) -> SignCertificateResponse | None:
    """``None`` when it is refused."""
    issuing = Issuing(CA, {prover.kind: prover}, prover)
    service = SentryService(issuing, SentryMetrics(Registry()))
    with contextlib.suppress(RpcError):
        return runner.run(service.sign_certificate(request, cast(Any, None)))
    return None


def _is_exactly(
    proof: Proof, request: SignCertificateRequest, response: SignCertificateResponse
) -> None:
    leaf, *above = read_certificates(response.workload_certificate)
    assert tuple(above) == CA.bundle.chain
    identity = spiffe_id(leaf)  # also: no CA, no signer, one URI
    assert (identity.namespace, identity.app_id) == (proof.namespace, proof.app_id)
    assert identity.more == ""
    assert identity.trust_domain == proof.trust_domain.removeprefix("spiffe://").split("/")[0]
    assert list(leaf.subject) == []
    assert {type(extension.value) for extension in leaf.extensions} == ALLOWED
    names = list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    own = proof.namespace == CONTROL_PLANE
    dns = dns_names(proof.app_id, CONTROL_PLANE, "cluster.local") if own else []
    assert names[1:] == [x509.DNSName(name) for name in dns]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.CODE_SIGNING not in usage
    csr = x509.load_pem_x509_csr(request.certificate_signing_request)
    assert leaf.public_key() == csr.public_key()
