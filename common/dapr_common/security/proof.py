"""How a workload proves to sentry who it is: by which validator, with the token of which file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dapr_common.security.errors import SecuritySettingsError
from dapr_common.wire.dapr.proto.sentry.v1.sentry_pb2 import SignCertificateRequest

_VARIABLE = "DAPR_SENTRY_TOKEN_FILE"
_POD_TOKENS = (
    Path("/var/run/secrets/dapr.io/sentrytoken/token"),
    Path("/var/run/secrets/kubernetes.io/serviceaccount/token"),
)


@dataclass(frozen=True, slots=True)
class Proof:
    """``validator`` is a value of ``TokenValidator``; the file is read anew for each request."""

    validator: SignCertificateRequest.TokenValidator = SignCertificateRequest.UNKNOWN
    token_file: Path | None = None


def proof_of(environment: Mapping[str, str], *, in_cluster: bool) -> Proof:
    """What this process has. Raises ``SecuritySettingsError``."""
    named = environment.get(_VARIABLE)
    if named == "":
        raise SecuritySettingsError(
            f"{_VARIABLE} is empty: name the file of the token, or unset the variable"
        )
    if named is not None:
        kind = SignCertificateRequest.KUBERNETES if in_cluster else SignCertificateRequest.JWKS
        return Proof(kind, Path(named))
    if in_cluster:
        found = next((path for path in _POD_TOKENS if path.exists()), _POD_TOKENS[0])
        return Proof(SignCertificateRequest.KUBERNETES, found)
    return Proof()
