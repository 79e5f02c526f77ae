"""One request to sentry: a key's certificate, checked before anybody uses it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import HandshakeError, RpcError
from dapr_common.security.errors import IdentityError, UnreachableError
from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.svid import Svid
from dapr_common.security.tls import peer_id
from dapr_common.security.tokens import TokenFileError, jwt_expiry, read_token
from dapr_common.security.x509 import (
    CertificateError,
    KeyKind,
    PrivateKey,
    new_csr,
    new_private_key,
    read_certificates,
    spiffe_id,
    verify_chain,
)
from dapr_common.wire.dapr.proto.sentry.v1 import sentry_pb2 as pb

_SIGN = "/dapr.proto.sentry.v1.CA/SignCertificate"
_TRIES, _TRY_SECONDS = 5, 3.0
_FINAL = frozenset(
    {GrpcCode.PERMISSION_DENIED, GrpcCode.INVALID_ARGUMENT, GrpcCode.UNAUTHENTICATED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRequest:
    """Who asks which sentry for what. ``trust_domain`` is empty for applications."""

    app_id: str
    namespace: str
    sentry_address: str
    sentry_id: SpiffeId
    trust_domain: str = ""
    validator: pb.SignCertificateRequest.TokenValidator = pb.SignCertificateRequest.UNKNOWN
    token_file: Path | None = None
    audiences: tuple[str, ...] = ()
    key_kind: KeyKind = "ed25519"


async def fetch_svid(
    request: IdentityRequest, tls: ssl.SSLContext, anchors: tuple[x509.Certificate, ...]
) -> Svid:
    """Ask for a certificate of a new key; sentry itself is checked by ``tls`` and its id.

    ``anchors`` are those of the answer when it has none. Raises ``IdentityError``, and
    ``UnreachableError`` when it may help to wait.
    """
    key = new_private_key(request.key_kind)
    message = _message(request, key)
    channel = GrpcChannel(
        request.sentry_address,
        ssl=tls,
        verify_peer=lambda peer: _check_sentry(peer, request.sentry_id),
        connect_timeout=_TRY_SECONDS,
    )
    try:
        response = await _ask(channel, message)
    finally:
        await channel.close()
    return _accepted(request, response, key, anchors)


def _message(request: IdentityRequest, key: PrivateKey) -> pb.SignCertificateRequest:
    token = ""
    if request.token_file is not None:
        try:
            token = read_token(request.token_file)
        except TokenFileError as error:
            raise IdentityError(f"no token for sentry: {error}", "sentry_token") from error
    return pb.SignCertificateRequest(
        id=request.app_id,
        token=token,
        trust_domain=request.trust_domain,
        namespace=request.namespace,
        certificate_signing_request=new_csr(key),
        token_validator=request.validator,
        jwt_audiences=request.audiences,
    )


def _check_sentry(tls: ssl.SSLObject, expected: SpiffeId) -> None:
    found = peer_id(tls)
    if found != expected:
        raise CertificateError(
            f'unexpected SPIFFE ID "{found}", expected "{expected}": check the control plane\'s '
            "trust domain and namespace"
        )


async def _ask(
    channel: GrpcChannel, message: pb.SignCertificateRequest
) -> pb.SignCertificateResponse:
    for tries_left in reversed(range(_TRIES)):
        try:
            result = await channel.unary(
                _SIGN, message, pb.SignCertificateResponse, timeout=_TRY_SECONDS
            )
        except HandshakeError as error:
            text = f"{channel.target} is not the expected sentry: {error.message}"
            raise IdentityError(text, "sentry_conn") from error
        except RpcError as error:
            if not channel.connected:
                raise UnreachableError(error.message) from error
            if error.code in _FINAL or not tries_left:
                text = f"error from sentry SignCertificate: {error}"
                raise IdentityError(text, "sign") from error
        else:
            response: pb.SignCertificateResponse = result.message
            return response
    raise AssertionError("the last try returns or raises")


def _accepted(
    request: IdentityRequest,
    response: pb.SignCertificateResponse,
    key: PrivateKey,
    anchors: tuple[x509.Certificate, ...],
) -> Svid:
    """The answer as an identity; one that peers would refuse is refused here."""
    sent = b"\n".join(response.trust_chain_certificates)
    reason = "sign"
    try:
        chain = read_certificates(response.workload_certificate)
        if sent.strip():
            anchors = read_certificates(sent)
        identity = _checked_id(request, chain[0], key)
        reason = "invalid_ts"
        verify_chain(chain, anchors, datetime.now(UTC))
        reason = "jwt_parse"
        jwt = response.jwt.value if response.HasField("jwt") else None
        if jwt is not None:
            jwt_expiry(jwt)
    except ValueError as error:
        raise IdentityError(f"sentry's answer cannot be used: {error}", reason) from error
    tokens = {name: one.value for name, one in response.per_audience_jwts.items()}
    if jwt is not None and (missing := [one for one in request.audiences if one not in tokens]):
        text = f"sentry's answer has no JWT for the audience {missing[0]}"
        raise IdentityError(text, "jwt_aud")
    return Svid(identity, chain, key, anchors, jwt, tokens)


def _checked_id(request: IdentityRequest, leaf: x509.Certificate, key: PrivateKey) -> SpiffeId:
    found = spiffe_id(leaf)
    if leaf.public_key() != key.public_key():
        raise CertificateError("the certificate is for another key")
    if (found.namespace, found.app_id) != (request.namespace, request.app_id):
        raise CertificateError(f"the certificate is for another workload, {found}")
    return found
