"""Who we are towards Google Cloud: what all its components take; names as in Dapr."""

from __future__ import annotations

from dataclasses import dataclass

from dapr_sidecar.components.metadata import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpSettings:
    """A service account's key; without it, what the surroundings offer is taken."""

    project_id: str = setting("projectID", aliases=("project_id",), help="id of the project")
    type: str = setting("type", default="service_account", help="service_account")
    private_key_id: str = setting(
        "privateKeyID", aliases=("private_key_id",), default="", secret=True, help="id of the key"
    )
    private_key: str = setting(
        "privateKey", aliases=("private_key",), default="", secret=True, help="the key, PEM"
    )
    client_email: str = setting(
        "clientEmail", aliases=("client_email",), default="", help="address of the account"
    )
    client_id: str = setting(
        "clientID", aliases=("client_id",), default="", help="accepted; the address says it"
    )
    auth_uri: str = setting("authURI", aliases=("auth_uri",), default="", help="accepted")
    token_uri: str = setting("tokenURI", aliases=("token_uri",), default="", help="accepted")
    provider_cert: str = setting(
        "authProviderX509CertURL",
        aliases=("auth_provider_x509_cert_url",),
        default="",
        help="accepted",
    )
    client_cert: str = setting(
        "clientX509CertURL", aliases=("client_x509_cert_url",), default="", help="accepted"
    )
