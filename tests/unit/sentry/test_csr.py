"""What is made of certificate signing requests, good and bad."""

from __future__ import annotations

import base64
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from harness.authorities import name

from dapr_common.security.x509 import KeyKind, new_csr, new_private_key
from dapr_sentry.csr import CsrError, WeakKeyError, public_key


def csr(key: object, digest: hashes.HashAlgorithm | None = None) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name("anything"))
    return builder.sign(key, digest).public_bytes(Encoding.PEM)  # type: ignore[arg-type]


def refusal(pem: bytes) -> str:
    with pytest.raises(CsrError) as caught:
        public_key(pem)
    assert not isinstance(caught.value, WeakKeyError)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_the_key_comes_out(kind: KeyKind) -> None:
    key = new_private_key(kind)
    assert public_key(new_csr(key)) == key.public_key()


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_other_curves(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    assert public_key(csr(key, hashes.SHA384())) == key.public_key()


def test_the_older_block_name_headers_and_text_around_are_read() -> None:
    key = new_private_key("ed25519")
    pem = new_csr(key)
    assert public_key(pem.replace(b"CERTIFICATE REQUEST", b"CERTIFICATE")) == key.public_key()
    assert public_key(b"words before\r\n" + pem.replace(b"\n", b"\r\n")) == key.public_key()
    first, rest = pem.split(b"\n", 1)
    assert public_key(first + b"\nProc-Type: 4\n\n" + rest) == key.public_key()


@pytest.mark.parametrize(
    "pem",
    [
        b"nothing",
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA",
        new_csr(new_private_key("ed25519")).replace(b"CERTIFICATE REQUEST", b"PRIVATE KEY"),
        new_csr(new_private_key("ed25519")).replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE"),
        b"-----BEGIN CERTIFICATE REQUEST-----\nA=A=\n-----END CERTIFICATE REQUEST-----\n",
    ],
)
def test_what_is_no_request(pem: bytes) -> None:
    assert refusal(pem) == "invalid certificate signing request"


def test_what_cannot_be_parsed() -> None:
    body = base64.b64encode(b"0\x03\x02\x01\x05")
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\n%b\n-----END CERTIFICATE REQUEST-----\n" % body
    assert refusal(pem).startswith("failed to parse certificate signing request: ")


def test_a_version_nobody_knows() -> None:
    der = x509.load_pem_x509_csr(new_csr(new_private_key("ed25519"))).public_bytes(Encoding.DER)
    body = base64.encodebytes(der.replace(b"\x02\x01\x00", b"\x02\x01\x05", 1))
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\n%b-----END CERTIFICATE REQUEST-----\n" % body
    assert refusal(pem).startswith("failed to parse certificate signing request: 5 is not")


def test_a_request_made_to_be_slow_is_not() -> None:
    """Each line is a header that holds the begin of a block; read so, it took most of a second."""
    line = b"k:-----BEGIN A-----\n"
    began = time.process_time()
    assert refusal(line * ((64 << 10) // len(line))) == "invalid certificate signing request"
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_signature_that_does_not_hold(kind: KeyKind) -> None:
    request = x509.load_pem_x509_csr(new_csr(new_private_key(kind)))
    der = bytearray(request.public_bytes(Encoding.DER))
    der[-1] ^= 1
    body = base64.encodebytes(bytes(der))
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\n%b-----END CERTIFICATE REQUEST-----\n" % body
    assert refusal(pem) == "invalid signature"


def test_broken_digests_do_not_count() -> None:
    pem = _openssl_sha1_request()
    assert x509.load_pem_x509_csr(pem).signature_hash_algorithm is not None
    assert refusal(pem) == "invalid signature"


def _openssl_sha1_request() -> bytes:
    import subprocess

    command = "openssl req -new -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=a -sha1"
    return subprocess.run(command.split(), capture_output=True, check=True, timeout=20).stdout


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (rsa.generate_private_key(65537, 1024), "RSA of 1024 bits, use 2048 to 8192"),
        (ec.generate_private_key(ec.SECP256K1()), "curve secp256k1, use P-256, P-384 or P-521"),
        (ec.generate_private_key(ec.SECP224R1()), "curve secp224r1"),
        (dsa.generate_private_key(2048), "use Ed25519, ECDSA or RSA"),
        (ed448.Ed448PrivateKey.generate(), "use Ed25519, ECDSA or RSA"),
    ],
)
def test_weak_and_strange_keys(key: object, words: str) -> None:
    digest = None if isinstance(key, ed448.Ed448PrivateKey) else hashes.SHA256()
    with pytest.raises(WeakKeyError, match="is not accepted: ") as caught:
        public_key(csr(key, digest))
    assert words in str(caught.value)


def test_keys_are_not_shown() -> None:
    key = new_private_key("ecdsa")
    text = key.public_key().public_bytes(
        Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert refusal(text) == "invalid certificate signing request"
