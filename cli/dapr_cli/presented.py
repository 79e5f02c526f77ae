"""The certificate that a server on this machine presents before it asks who is there."""

from __future__ import annotations

import socket
import ssl

from cryptography import x509

_SECONDS = 3.0


def presented(port: int) -> x509.Certificate | None:
    """``None`` when nobody answers, or not by TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is looked at, not trusted
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), _SECONDS) as plain,
            context.wrap_socket(plain) as encrypted,
        ):
            der = encrypted.getpeercert(binary_form=True)
    except OSError:
        return None
    return x509.load_der_x509_certificate(der) if der else None
