"""``kind: HTTPEndpoint``."""

from __future__ import annotations

from dataclasses import replace

from dapr_common.kube.schema import parts
from dapr_common.kube.schema.fields import Field, anything, record, required, sequence, text
from dapr_common.kube.schema.resource import AGE, SCOPES, Column, CustomResource, Version
from dapr_common.kube.schema.status import READY, STATUS


def _pem(description: str) -> Field:
    return record(
        description,
        value=anything("The PEM text itself."),
        secretKeyRef=parts.SECRET_KEY_REF,
    )


_RENEGOTIATION = text(
    "Whether the server may ask to renegotiate.", enum=("Never", "OnceAsClient", "FreelyAsClient")
)

_CLIENT_TLS = record(
    "TLS towards the endpoint, where the system's defaults will not do.",
    rootCA=_pem("Certificate authorities the endpoint's certificate is checked against."),
    certificate=_pem("Certificate shown to the endpoint."),
    privateKey=_pem("Private key of the certificate."),
    renegotiation=replace(_RENEGOTIATION, default="Never"),
)

_SPEC = record(
    "Where the endpoint is and how to call it.",
    baseUrl=required(text("URL that the invoked method is appended to.")),
    headers=sequence("Headers added to every request.", parts.name_value("One header.")),
    clientTLS=_CLIENT_TLS,
)

HTTP_ENDPOINT = CustomResource(
    kind="HTTPEndpoint",
    plural="httpendpoints",
    versions=(
        Version(
            "v1alpha1",
            "A service outside Dapr that apps invoke by this name.",
            {
                "metadata": parts.METADATA,
                "spec": _SPEC,
                "auth": parts.AUTH,
                "scopes": parts.SCOPES,
                "status": STATUS,
            },
            (Column("URL", ".spec.baseUrl", "Where the endpoint is."), READY, SCOPES, AGE),
        ),
    ),
)
