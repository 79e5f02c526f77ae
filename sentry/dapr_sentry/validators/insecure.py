"""The validator of a trusted machine: whoever reaches sentry gets what it asks for."""

from __future__ import annotations

from dapr_common.wire.dapr.proto.sentry.v1.sentry_pb2 import SignCertificateRequest
from dapr_sentry.validators.base import Validator, requested_trust_domain


class InsecureValidator(Validator):
    """Asks for no proof; tokens are ignored."""

    kind = SignCertificateRequest.INSECURE

    async def validate(self, request: SignCertificateRequest) -> str:
        return requested_trust_domain(request)
