"""Flags and environment of sentry, as one frozen record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSettings:
    """How JWTs are made (``--jwt-*``)."""

    algorithm: str = "RS256"
    issuer: str = ""
    key_id: str = ""
    """Empty: made from the key's thumbprint."""
    ttl: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """How OIDC discovery is served (``--oidc-*``). ``cert_file`` is empty for plain HTTP."""

    port: int = 9080
    listen_address: str = "localhost"
    cert_file: str = ""
    key_file: str = ""
    jwks_uri: str = ""
    path_prefix: str = ""
    allowed_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the command line and the environment say."""

    mode: Literal["standalone", "kubernetes"]
    config: str
    trust_domain: str
    namespace: str
    """The control plane's, from ``NAMESPACE``."""
