"""``dapr.proto.sentry.v1.CA``: who asks is validated, then a certificate is signed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, Method
from dapr_common.observe.logs import get_logger
from dapr_common.security.spiffe import SpiffeError, SpiffeId
from dapr_common.wire.dapr.proto.sentry.v1.sentry_pb2 import (
    SignCertificateRequest,
    SignCertificateResponse,
)
from dapr_sentry import csr
from dapr_sentry.ca import CertificateAuthority, Issued, IssuerNotValidError
from dapr_sentry.jwt import JwtError, JwtIssuer, Tokens
from dapr_sentry.metrics import SentryMetrics
from dapr_sentry.validators.base import ValidationError, Validator, common_checks

SIGN_CERTIFICATE = "/dapr.proto.sentry.v1.CA/SignCertificate"
_LOG = get_logger("dapr.sentry.server")
_VALIDATION_SECONDS = 10.0
_MOST_SHOWN = 128
_NOT_SIGNED = "failed to sign certificate"
_Kind = SignCertificateRequest.TokenValidator


class RefusedError(RpcError):
    """What a caller is told, and the ``reason`` metrics count it under."""

    def __init__(self, code: GrpcCode, message: str, reason: str, detail: str = "") -> None:
        super().__init__(code, message)
        self.reason = reason
        self.detail = detail or message
        """For the log: may say more than the caller learns."""


@dataclass(frozen=True, slots=True)
class Issuing:
    """Everything one request needs, replaced as a whole."""

    ca: CertificateAuthority
    validators: Mapping[int, Validator]
    default: Validator | None = None
    """Takes requests that name no validator."""
    jwt: JwtIssuer | None = None


class SentryService:
    """Answers requests with whatever ``use`` was given last."""

    def __init__(
        self,
        issuing: Issuing,
        metrics: SentryMetrics,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._issuing = issuing
        self._metrics = metrics
        self._now = clock
        self._signing = asyncio.Lock()

    @property
    def method(self) -> Method:
        """The one method, for a server."""
        return Method(
            SIGN_CERTIFICATE,
            "unary_unary",
            SignCertificateRequest,
            SignCertificateResponse,
            self.sign_certificate,
        )

    def use(self, issuing: Issuing) -> None:
        """Answer from now on with this."""
        self._issuing = issuing

    async def sign_certificate(
        self, request: SignCertificateRequest, context: Context
    ) -> SignCertificateResponse:
        """Raises ``RpcError``."""
        self._metrics.received.add()
        issuing = self._issuing
        try:
            response = await self._answer(request, issuing)
        except RefusedError as refusal:
            self._report(request, issuing, refusal)
            raise
        except asyncio.CancelledError:
            gone = RefusedError(
                GrpcCode.CANCELLED, "the caller did not wait any longer", "cancelled"
            )
            self._report(request, issuing, gone)
            raise
        self._metrics.signed.add()
        return response

    async def _answer(
        self, request: SignCertificateRequest, issuing: Issuing
    ) -> SignCertificateResponse:
        validator = _chosen(request, issuing)
        trust_domain = await _validated(validator, request)
        # One at a time, and the loop has its turn after each: callers who gave up are not signed
        # for, and nothing else waits for a whole crowd.
        async with self._signing:
            await asyncio.sleep(0)
            return self._signed(request, trust_domain, issuing)

    def _signed(
        self, request: SignCertificateRequest, trust_domain: str, issuing: Issuing
    ) -> SignCertificateResponse:
        try:
            key = csr.public_key(request.certificate_signing_request)
        except csr.WeakKeyError as error:
            raise RefusedError(GrpcCode.INVALID_ARGUMENT, str(error), "weak_key") from error
        except csr.CsrError as error:
            raise RefusedError(GrpcCode.INVALID_ARGUMENT, str(error), "csr") from error
        now = self._now()
        try:
            identity = SpiffeId.make(trust_domain, request.namespace, request.id)
            issued = issuing.ca.issue(identity, key, now)
            tokens = _tokens(issuing.jwt, identity, request, now)
        except SpiffeError as error:
            raise RefusedError(GrpcCode.INTERNAL, _NOT_SIGNED, "identity", str(error)) from error
        except IssuerNotValidError as error:
            text = f"{_NOT_SIGNED}: {error}"
            raise RefusedError(GrpcCode.FAILED_PRECONDITION, text, "issuer_not_valid") from error
        except JwtError as error:
            raise RefusedError(GrpcCode.INVALID_ARGUMENT, str(error), "jwt_audiences") from error
        except Exception as error:
            _LOG.exception("a certificate could not be signed")
            raise RefusedError(GrpcCode.INTERNAL, _NOT_SIGNED, "sign") from error
        _LOG.debug("Certificate of %s issued until %s", identity, issued.not_after)
        return _response(issuing.ca, issued, tokens)

    def _report(
        self, request: SignCertificateRequest, issuing: Issuing, refusal: RefusedError
    ) -> None:
        validator = _validator_name(request, issuing)
        self._metrics.failed.at("sign").add()
        self._metrics.refused.at(validator, refusal.reason).add()
        _LOG.warning(
            "Certificate refused: app id '%s', namespace '%s', validator %s, reason %s: %s",
            request.id[:_MOST_SHOWN],
            request.namespace[:_MOST_SHOWN],
            validator,
            refusal.reason,
            refusal.detail,
        )


def _chosen(request: SignCertificateRequest, issuing: Issuing) -> Validator:
    kind = request.token_validator
    if kind == SignCertificateRequest.UNKNOWN:
        if issuing.default is None:
            raise RefusedError(
                GrpcCode.INVALID_ARGUMENT,
                "a validator name must be specified in this environment",
                "validator_missing",
            )
        return issuing.default
    validator = issuing.validators.get(kind)
    if validator is None:
        raise RefusedError(
            GrpcCode.INVALID_ARGUMENT,
            "the requested validator is not enabled",
            "validator_not_enabled",
        )
    return validator


async def _validated(validator: Validator, request: SignCertificateRequest) -> str:
    """The caller's trust domain; nobody gets past a validator that fails in any way."""
    try:
        common_checks(request)
    except ValidationError as error:
        raise RefusedError(GrpcCode.PERMISSION_DENIED, str(error), "invalid_request") from error
    try:
        async with asyncio.timeout(_VALIDATION_SECONDS):
            return await validator.validate(request)
    except ValidationError as error:
        raise RefusedError(GrpcCode.PERMISSION_DENIED, str(error), "not_validated") from error
    except TimeoutError as error:
        text = f"the validator did not answer within {_VALIDATION_SECONDS:g} s"
        raise RefusedError(GrpcCode.UNAVAILABLE, text, "validator_timeout") from error
    except Exception as error:
        _LOG.exception("the validator failed")
        raise RefusedError(GrpcCode.INTERNAL, "the validator failed", "validator_failed") from error


def _tokens(
    issuer: JwtIssuer | None, identity: SpiffeId, request: SignCertificateRequest, now: datetime
) -> Tokens | None:
    return None if issuer is None else issuer.issue(identity, request.jwt_audiences, now)


def _response(
    ca: CertificateAuthority, issued: Issued, tokens: Tokens | None
) -> SignCertificateResponse:
    valid_until = Timestamp()
    valid_until.FromDatetime(issued.not_after)
    response = SignCertificateResponse(
        workload_certificate=issued.chain_pem,
        trust_chain_certificates=[ca.anchors_pem],
        valid_until=valid_until,
    )
    if tokens is not None:
        response.jwt.CopyFrom(StringValue(value=tokens.jwt))
        for audience, token in tokens.per_audience.items():
            response.per_audience_jwts[audience].CopyFrom(StringValue(value=token))
    return response


def _validator_name(request: SignCertificateRequest, issuing: Issuing) -> str:
    kind: int = request.token_validator
    if kind == SignCertificateRequest.UNKNOWN and issuing.default is not None:
        kind = issuing.default.kind
    return _Kind.Name(kind) if kind in _Kind.values() else "UNKNOWN"
