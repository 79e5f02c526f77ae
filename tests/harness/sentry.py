"""A real dapr-sentry with the files a test gives it; asked with grpcio, as foreign clients do.

``SENTRY`` names the program (split as a shell does); the default is this environment's own.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shlex
import shutil
import socket
import ssl
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml
from cryptography import x509
from harness.programs import Program, console_script, free_port
from harness.sidecar import resource
from harness.tls_tunnel import TlsTunnel

from dapr_common.security.authority import CaBundle
from dapr_common.security.svid import Svid
from dapr_common.security.x509 import (
    PrivateKey,
    new_csr,
    new_private_key,
    read_certificates,
    spiffe_id,
)
from dapr_common.wire.dapr.proto.sentry.v1 import sentry_pb2 as pb

SIGN = "/dapr.proto.sentry.v1.CA/SignCertificate"


def sentry_command() -> list[str]:
    """The sentry under test."""
    return shlex.split(os.environ.get("SENTRY", "")) or [console_script("dapr-sentry")]


class Sentry(Program):
    """One sentry on free ports. ``mtls`` is ``spec.mtls`` of its Configuration."""

    def __init__(
        self,
        *,
        bundle: CaBundle | None = None,
        mtls: Mapping[str, Any] | None = None,
        trust_domain: str = "cluster.local",
        namespace: str = "dapr-system",
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        exit_code: int | None = 0,
        ready: bool = True,
    ) -> None:
        self.port, self.health_port, self.metrics_port = (free_port() for _ in range(3))
        self.trust_domain, self.namespace = trust_domain, namespace
        self.folder = Path(tempfile.mkdtemp(prefix="sentry-"))
        self._remove_folder = weakref.finalize(self, shutil.rmtree, self.folder, True)
        self.credentials = self.folder / "credentials"
        self.config = self.folder / "config.yaml"
        self._ready = ready
        self.known_anchors: bytes | None = None
        self.configure(mtls or {})
        if bundle is not None:
            self.put(bundle)
        values: dict[str, object] = {
            "config": self.config,
            "issuer-credentials": self.credentials,
            "trust-domain": trust_domain,
            "port": self.port,
            "listen-address": "127.0.0.1",
            "healthz-port": self.health_port,
            "metrics-port": self.metrics_port,
            "log-level": "debug",
        }
        command = [*sentry_command(), *(f"--{name}={value}" for name, value in values.items())]
        super().__init__(
            [*command, *flags],
            name="dapr-sentry",
            env={"NAMESPACE": namespace, **(env or {})},
            cwd=self.folder,
            exit_code=exit_code,
        )

    def configure(self, mtls: Mapping[str, Any]) -> None:
        """Write the Configuration."""
        spec = {"mtls": {"enabled": True, **mtls}}
        fresh = self.config.with_suffix(".new")
        fresh.write_text(yaml.safe_dump(resource("Configuration", "daprsystem", spec)))
        fresh.rename(self.config)  # sentry may look at any moment

    def put(self, bundle: CaBundle) -> None:
        """Put a certificate authority in place, one file after the other as ``cp`` does.

        In an order in which no part of it beside the rest of another is a set: should sentry look
        just then, it takes none.
        """
        self.credentials.mkdir(exist_ok=True)
        (self.credentials / "issuer.key").write_bytes(bundle.key_pem)
        (self.credentials / "ca.crt").write_bytes(bundle.anchors_pem)
        (self.credentials / "issuer.crt").write_bytes(bundle.chain_pem)

    @property
    def anchors_pem(self) -> bytes:
        """What clients trust: ``ca.crt`` as it is now, unless a test sets ``known_anchors``."""
        return self.known_anchors or (self.credentials / "ca.crt").read_bytes()

    def is_ready(self) -> bool:
        return not self._ready or self.health() == 200

    def health(self) -> int:
        """The status of ``/healthz``, 0 when there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.health_port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def ended(self) -> None:
        """Remove its files."""
        self._remove_folder()

    # --- asking -----------------------------------------------------------------------------

    def tls(self) -> ssl.SSLContext:
        """What a client checks sentry with: the trust anchors as they are now, no host name."""
        context = ssl.create_default_context(cadata=self.anchors_pem.decode())
        context.check_hostname = False
        context.set_alpn_protocols(["h2"])
        return context

    def served_certificate(self) -> x509.Certificate:
        """What it shows in a handshake now, verified against the trust anchors."""
        with (
            socket.create_connection(("127.0.0.1", self.port), 10) as plain,
            self.tls().wrap_socket(plain) as connection,
        ):
            der = connection.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der)

    @contextlib.contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        """A connection of grpcio."""
        with (
            TlsTunnel(self.port, self.tls) as tunnel,
            grpc.insecure_channel(f"127.0.0.1:{tunnel.port}") as channel,
        ):
            yield channel

    def sign(self, **fields: Any) -> Signed:
        """One request over a connection of its own. Raises ``grpc.RpcError``."""
        with self.channel() as channel:
            return sign(channel, **fields)

    def metrics(self) -> dict[str, float]:
        """Sample with labels → value, as the text has them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=5)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines if name}


@dataclass(frozen=True)
class Signed:
    """An answer and the key it is for."""

    response: pb.SignCertificateResponse
    key: PrivateKey

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        return read_certificates(self.response.workload_certificate)

    @property
    def anchors(self) -> tuple[x509.Certificate, ...]:
        return read_certificates(b"".join(self.response.trust_chain_certificates))

    @property
    def svid(self) -> Svid:
        return Svid(spiffe_id(self.chain[0]), self.chain, self.key, self.anchors)


def sign(channel: grpc.Channel, *, timeout: float = 10.0, **fields: Any) -> Signed:
    """Ask with a new key, unless a request is given. Raises ``grpc.RpcError``."""
    key = fields.pop("key", None) or new_private_key("ed25519")
    request = pb.SignCertificateRequest(
        **{
            "id": "orders",
            "namespace": "shop",
            "certificate_signing_request": new_csr(key),
            **fields,
        }
    )
    call = channel.unary_unary(
        SIGN,
        request_serializer=pb.SignCertificateRequest.SerializeToString,
        response_deserializer=pb.SignCertificateResponse.FromString,
    )
    return Signed(call(request, timeout=timeout, wait_for_ready=True), key)
