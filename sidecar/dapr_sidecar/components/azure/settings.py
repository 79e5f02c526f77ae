"""Who we are towards Azure: what all components with Microsoft Entra ID take."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dapr_sidecar.components.metadata import setting


class AzureEnvironment(Enum):
    """The clouds, each with its own authority."""

    PUBLIC = "AzurePublicCloud"
    CHINA = "AzureChinaCloud"
    GOVERNMENT = "AzureUSGovernmentCloud"


# Without slots: a class can then inherit from this one and another.
@dataclass(frozen=True, kw_only=True)
class AzureSettings:
    """Names as in Dapr's Azure components. Without them, what the surroundings offer is taken."""

    tenant_id: str = setting("azureTenantId", default="", help="id of the directory")
    client_id: str = setting(
        "azureClientId", default="", help="id of the application, or of the managed identity"
    )
    client_secret: str = setting(
        "azureClientSecret", default="", secret=True, help="secret of the application"
    )
    certificate: str = setting(
        "azureCertificate",
        default="",
        secret=True,
        help="certificate and key of the application, PEM",
    )
    certificate_file: str = setting(
        "azureCertificateFile", default="", help="file with them, PEM or PFX"
    )
    certificate_password: str = setting(
        "azureCertificatePassword", default="", secret=True, help="password of that file"
    )
    environment: AzureEnvironment = setting(
        "azureEnvironment", default=AzureEnvironment.PUBLIC, help="the cloud"
    )
