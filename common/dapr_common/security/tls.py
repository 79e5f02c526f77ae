"""TLS made of an identity: contexts whose handshakes always use the newest certificate."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from cryptography import x509

from dapr_common.observe.logs import get_logger
from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.svid import Svid
from dapr_common.security.x509 import (
    CertificateError,
    spiffe_id,
    write_certificates,
    write_private_key,
)

_LOG = get_logger("dapr.runtime.security")
_CERTIFICATE_FAILURES = ("PEER_DID_NOT_RETURN_A_CERTIFICATE", "CERTIFICATE_VERIFY_FAILED")


class RotatingContext(ssl.SSLContext):
    """Stands for the newest of a row of contexts; listeners and channels keep this one.

    An event loop asks a context for one TLS object per connection: that is where the newest comes
    in. Connections that are open keep what they have.
    """

    _newest: ssl.SSLContext | None
    _protocols: list[str] | None

    def __new__(cls, protocol: int) -> Self:
        context = super().__new__(cls, protocol)
        context.check_hostname = False
        context._newest = None
        context._protocols = None
        return context

    def swap(self, context: ssl.SSLContext) -> None:
        """Handshakes from now on use this one."""
        if self._protocols is not None:
            context.set_alpn_protocols(self._protocols)
        self._newest = context

    def set_alpn_protocols(self, alpn_protocols: Any) -> None:
        """Offer these protocols, now and after every swap."""
        self._protocols = list(alpn_protocols)
        if self._newest is not None:
            self._newest.set_alpn_protocols(self._protocols)

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """A connection's TLS. Raises ``ssl.SSLError`` before the first certificate is there."""
        if self._newest is None:
            raise ssl.SSLError("there is no certificate yet")
        return self._newest.wrap_bio(*args, **kwargs)


class _AlertingServer(ssl.SSLObject):
    """Tells a client that its certificate is refused.

    Event loops cut the connection as soon as a handshake fails, before OpenSSL's alert has left.
    So this failure is first reported as "more is needed": the loop sends what there is and waits
    for the client, who hangs up (or runs into the handshake's time limit).
    """

    _failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            if error.reason not in _CERTIFICATE_FAILURES:
                raise
            _LOG.debug("TLS client refused: %s", error)
            self._failure = error
            raise ssl.SSLWantReadError from error


class TlsContexts:
    """The contexts of one identity; ``install`` renews them all.

    ``client`` and ``mutual_server`` present the certificate and demand one of the same trust
    anchors; ``server`` asks for none; ``anonymous_client`` presents none.
    """

    def __init__(self) -> None:
        self.client = RotatingContext(ssl.PROTOCOL_TLS_CLIENT)
        self.mutual_server = RotatingContext(ssl.PROTOCOL_TLS_SERVER)
        self.server = RotatingContext(ssl.PROTOCOL_TLS_SERVER)
        self.anonymous_client = RotatingContext(ssl.PROTOCOL_TLS_CLIENT)

    def install(self, svid: Svid) -> None:
        """Use this identity for every handshake from now on. Raises ``ssl.SSLError``."""
        anchors = svid.anchors
        contexts = (
            (self.client, _client(anchors)),
            (self.mutual_server, _server(anchors)),
            (self.server, _server(())),
        )
        with _certificate_file(svid) as path:
            for _, context in contexts:
                context.load_cert_chain(path)
        for rotating, context in contexts:
            rotating.swap(context)
        self.trust(anchors)

    def trust(self, anchors: tuple[x509.Certificate, ...]) -> None:
        """Check servers against these anchors while there is no certificate of one's own."""
        self.anonymous_client.swap(_client(anchors))


def peer_id(tls: ssl.SSLObject) -> SpiffeId:
    """The identity of a connection's peer, whose chain TLS has verified.

    Raises ``CertificateError`` when its certificate is no workload's.
    """
    der = tls.getpeercert(binary_form=True)
    if der is None:
        raise CertificateError("the peer showed no certificate")
    try:
        leaf = x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateError(f"malformed certificate: {error}") from error
    return spiffe_id(leaf)


def _client(anchors: tuple[x509.Certificate, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Peers are known by their SPIFFE id, which whoever connects compares; never by a host name.
    context.check_hostname = False
    _trust(context, anchors)
    return _hardened(context)


def _server(anchors: tuple[x509.Certificate, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _AlertingServer
    if anchors:
        _trust(context, anchors)
    # A resumed session would not look at the peer's certificate again.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return _hardened(context)


def _trust(context: ssl.SSLContext, anchors: tuple[x509.Certificate, ...]) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=write_certificates(anchors).decode("ascii"))


def _hardened(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@contextmanager
def _certificate_file(svid: Svid) -> Iterator[str]:
    """Certificate and key under a path, as ``ssl`` wants them; in memory where that can be had."""
    pem = write_certificates(svid.chain) + write_private_key(svid.key)
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("svid", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, pem)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile() as file:  # made with mode 0600
        file.write(pem)
        file.flush()
        yield file.name
