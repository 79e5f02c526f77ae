"""Passwords that are tokens: of AWS IAM for RDS, of Microsoft Entra ID for Azure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import quote

from dapr_sidecar.components.aws.credentials import CredentialSource
from dapr_sidecar.components.aws.signing import Scope, presigned
from dapr_sidecar.components.azure.tokens import TokenSource
from dapr_sidecar.components.postgresql.settings import ConnectionInfo, PostgresSettings

_RESOURCE = "https://ossrdbms-aad.database.windows.net"
_SECONDS = 900
"""How long RDS takes a token; connections that are made stay."""

Password = Callable[[], Awaitable[str]]


def token_password(settings: PostgresSettings, info: ConnectionInfo) -> Password | None:
    """What makes the password of each new connection; ``None`` when it is a fixed one.

    Raises ``SettingsError``.
    """
    if settings.use_azure_ad:
        return TokenSource(settings, _RESOURCE).get
    if settings.use_aws_iam:
        return _aws_password(settings, info)
    return None


def _aws_password(settings: PostgresSettings, info: ConnectionInfo) -> Password:
    region = settings.checked_region()
    credentials = CredentialSource(settings, region)

    async def password() -> str:
        keys = await credentials.get()
        target, now = f"/?Action=connect&DBUser={quote(info.user, safe='')}", datetime.now(UTC)
        return presigned(target, info.shown, keys, Scope(region, "rds-db"), now, _SECONDS)

    return password
