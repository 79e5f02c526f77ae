"""Certificate authorities as users bring them, whom they sign, and what verifiers say of chains."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

from dapr_common.security.authority import (
    CaBundle,
    Life,
    Signer,
    authority_key,
    ca_certificate,
)
from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.svid import Svid
from dapr_common.security.tls import TlsContexts
from dapr_common.security.x509 import (
    KeyKind,
    PrivateKey,
    new_private_key,
    signing_hash,
    write_certificates,
)
from dapr_sentry.ca import CertificateAuthority

_DAY, YEAR = timedelta(days=1), timedelta(days=365)
APP = SpiffeId("public", "shop", "orders")
Certificates = Sequence[x509.Certificate]


def now() -> datetime:
    return datetime.now(UTC)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def root(
    kind: KeyKind = "ecdsa", *, called: str = "My Root", life: Life | None = None
) -> tuple[x509.Certificate, PrivateKey]:
    key = new_private_key(kind)
    own = name(called)
    return ca_certificate(own, key.public_key(), Signer(own, key), life or Life.of(now())), key


def below(
    above: x509.Certificate,
    above_key: PrivateKey,
    kind: KeyKind = "ecdsa",
    *,
    called: str = "My Issuer",
    life: Life | None = None,
) -> tuple[x509.Certificate, PrivateKey]:
    key = new_private_key(kind)
    signer = Signer.of(above, above_key)
    own = life or Life.of(now())
    return ca_certificate(name(called), key.public_key(), signer, own), key


def brought(kind: KeyKind = "ecdsa", *, life: Life | None = None) -> CaBundle:
    """A root and an issuer of one kind of key."""
    anchor, anchor_key = root(kind, life=life)
    issuer, key = below(anchor, anchor_key, kind, life=life)
    return CaBundle((anchor,), (issuer,), key)


def with_path_length(
    certificate: x509.Certificate, signer: PrivateKey, length: int
) -> x509.Certificate:
    """The same certificate, but with a bound on the CAs below it."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(certificate.public_key())
        .serial_number(certificate.serial_number)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
    )
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            value = x509.BasicConstraints(ca=True, path_length=length)
        builder = builder.add_extension(value, extension.critical)
    return builder.sign(signer, signing_hash(signer))


def authority(bundle: CaBundle, *, ttl: timedelta = timedelta(hours=1)) -> CertificateAuthority:
    return CertificateAuthority(
        bundle,
        namespace="dapr-system",
        cluster_domain="cluster.local",
        ttl=ttl,
        clock_skew=timedelta(minutes=15),
    )


def workload(bundle: CaBundle, kind: KeyKind = "ecdsa", identity: SpiffeId = APP) -> Svid:
    """A workload's identity of this authority."""
    key = new_private_key(kind)
    issued = authority(bundle).issue(identity, key.public_key(), now())
    return Svid(identity, (issued.leaf, *bundle.intermediates), key, bundle.anchors)


@dataclass(frozen=True)
class Authority:
    """One CA certificate with its key; ``issuer`` is what signed it, ``None`` for a root.

    It signs whatever it is given, also what no sentry would.
    """

    certificate: x509.Certificate
    key: PrivateKey
    issuer: Authority | None = None

    @classmethod
    def root(
        cls, called: str = "root", *, kind: KeyKind = "ecdsa", life: timedelta = _DAY
    ) -> Authority:
        return cls(*root(kind, called=called, life=_recent(life)))

    def intermediate(
        self, called: str = "issuer", *, kind: KeyKind = "ecdsa", life: timedelta = _DAY
    ) -> Authority:
        made = below(self.certificate, self.key, kind, called=called, life=_recent(life))
        return Authority(*made, self)

    def certify(
        self,
        key: CertificatePublicKeyTypes,
        called: str = "",
        *,
        uris: Sequence[str] = (),
        life: timedelta = _DAY,
        ca: bool = False,
    ) -> x509.Certificate:
        """A certificate of a key, with these names and no other."""
        moments = _recent(life)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(called) if called else x509.Name([]))
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(moments.not_before)
            .not_valid_after(moments.not_after)
        )
        if ca:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        if uris:
            names = [x509.UniformResourceIdentifier(uri) for uri in uris]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), True)
        if identifier := authority_key(self.certificate):  # Python 3.13 asks for it
            builder = builder.add_extension(identifier, False)
        return builder.sign(self.key, signing_hash(self.key))

    def chain(self) -> tuple[x509.Certificate, ...]:
        """This certificate and those above, without the root."""
        return () if self.issuer is None else (self.certificate, *self.issuer.chain())

    def svid(
        self,
        uri: str = "spiffe://public/ns/default/app",
        *,
        kind: KeyKind = "ecdsa",
        life: timedelta = _DAY,
        anchors: tuple[x509.Certificate, ...] = (),
    ) -> Svid:
        key = new_private_key(kind)
        leaf = self.certify(key.public_key(), uris=(uri,), life=life)
        return Svid(SpiffeId.parse(uri), (leaf, *self.chain()), key, anchors or (self.top(),))

    def top(self) -> x509.Certificate:
        return self.certificate if self.issuer is None else self.issuer.top()


def _recent(life: timedelta) -> Life:
    return Life.of(now(), life, timedelta(hours=1))


# --- verifiers ----------------------------------------------------------------------------------


def openssl_verify(chain: Certificates, anchors: Certificates, folder: Path) -> str:
    """What ``openssl verify -x509_strict`` has against it; empty when it is fine."""
    (folder / "anchors.pem").write_bytes(write_certificates(anchors))
    (folder / "leaf.pem").write_bytes(write_certificates(chain[:1]))
    command = ["openssl", "verify", "-x509_strict", "-CAfile", "anchors.pem"]
    if chain[1:]:
        (folder / "between.pem").write_bytes(write_certificates(chain[1:]))
        command += ["-untrusted", "between.pem"]
    done = subprocess.run(
        [*command, "leaf.pem"], cwd=folder, capture_output=True, text=True, timeout=20, check=False
    )
    return "" if done.returncode == 0 and done.stdout == "leaf.pem: OK\n" else done.stderr


def library_verify(chain: Certificates, anchors: Certificates) -> None:
    """The verifier of ``cryptography``, which takes no Ed25519. Raises ``VerificationError``."""
    from cryptography.x509 import verification

    anything = verification.ExtensionPolicy.permit_all()
    for_cas = anything.require_present(
        x509.BasicConstraints, verification.Criticality.AGNOSTIC, None
    )
    builder = verification.PolicyBuilder().store(verification.Store(list(anchors))).time(now())
    builder = builder.extension_policies(ca_policy=for_cas, ee_policy=anything)
    builder.build_client_verifier().verify(chain[0], list(chain[1:]))


async def handshake(server: Svid, client: Svid) -> None:
    """Mutual TLS. Raises ``ssl.SSLError`` when one does not trust the other."""
    serving, calling = TlsContexts(), TlsContexts()
    serving.install(server)
    calling.install(client)
    failure: list[BaseException] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(await reader.readexactly(4))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError) as error:
            failure.append(error)
        finally:
            writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=serving.mutual_server)
    port = listener.sockets[0].getsockname()[1]
    async with asyncio.timeout(30), listener:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=calling.client, server_hostname=""
        )
        try:
            writer.write(b"ping")
            if await reader.read(4) != b"ping":
                raise ssl.SSLError(f"the server refused the client: {failure}")
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
