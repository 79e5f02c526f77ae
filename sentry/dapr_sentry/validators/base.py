"""What every validator is, and the checks all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from dapr_common.security.spiffe import SpiffeError, parse_trust_domain
from dapr_common.wire.dapr.proto.sentry.v1.sentry_pb2 import SignCertificateRequest

DEFAULT_TRUST_DOMAIN = "public"
_MAX_ID_BYTES = 64


class ValidationError(Exception):
    """The caller has not proven the identity it asks for; the text is the answer it gets."""


class ValidatorError(Exception):
    """A validator cannot start: the text says what is wrong and what to do. The process ends."""


class Validator(ABC):
    """Decides whether a caller may have the id and namespace it asks for.

    The identity that is signed is the request's id and namespace and the trust domain returned.
    """

    kind: ClassVar[SignCertificateRequest.TokenValidator]
    """The number requests name it by."""
    target: ClassVar[str] = ""
    """Its readiness target, such as ``sentry-jwks-validator``; empty when it is always ready."""

    async def open(self) -> None:
        """Returns once requests can be judged (caches are there). Raises ``ValidatorError``."""

    async def close(self) -> None:
        """Free everything; safe to call twice."""

    @abstractmethod
    async def validate(self, request: SignCertificateRequest) -> str:
        """The caller's trust domain. Raises ``ValidationError``.

        The service has run ``common_checks`` already and gives the call a deadline.
        """


def common_checks(request: SignCertificateRequest) -> None:
    """What all validators ask of a request. Raises ``ValidationError`` with every fault."""
    faults = [*_id_faults(request.id)]
    if not request.certificate_signing_request:
        faults.append("CSR is required")
    if not request.namespace:
        faults.append("namespace is required")
    if faults:
        raise ValidationError("invalid request: " + "\n".join(faults))


def requested_trust_domain(request: SignCertificateRequest) -> str:
    """The trust domain the request names, or ``public``. Raises ``ValidationError``."""
    try:
        return parse_trust_domain(request.trust_domain or DEFAULT_TRUST_DOMAIN)
    except SpiffeError as error:
        raise ValidationError(str(error)) from error


def _id_faults(app_id: str) -> list[str]:
    if not app_id:
        return ["parameter app-id cannot be empty"]
    faults: list[str] = []
    if "." in app_id:
        faults.append("parameter app-id cannot contain dots")
    if len(app_id.encode()) > _MAX_ID_BYTES:
        faults.append(f"app ID must be {_MAX_ID_BYTES} characters or less")
    return faults
