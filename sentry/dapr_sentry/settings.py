"""Flags and environment of sentry, as one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dapr_common.flags import Parsed
from dapr_common.program import ServiceSettings, SettingsError, is_kubernetes, port, refuse_root
from dapr_common.security.spiffe import SpiffeError, SpiffeId, parse_trust_domain
from dapr_sentry.bundle_store import FileNames

_DEFAULT_NAMES = FileNames()


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

    kubernetes: bool
    config: str
    """A path; in Kubernetes the name of a Configuration."""
    identity: SpiffeId
    """Sentry's own: the control plane's trust domain and namespace."""
    port: int
    listen_address: str
    credentials: Path
    files: FileNames
    """Relative to ``credentials``, or absolute."""
    jwt: JwtSettings | None
    oidc: OidcSettings | None
    kubeconfig: str
    """Empty: found as ``kubectl`` does."""
    watch_namespace: str
    """Pods of this one only get certificates; empty is all. For roles that reach no further."""
    service: ServiceSettings


def read(parsed: Parsed, environment: Mapping[str, str]) -> Settings:
    """Check and combine. Raises ``SettingsError``."""
    kubernetes = is_kubernetes(parsed)
    if kubernetes:
        refuse_root("sentry", environment)
    return Settings(
        kubernetes=kubernetes,
        config=parsed.text("config"),
        identity=_identity(parsed, environment, kubernetes),
        port=port(parsed, "port"),
        listen_address=parsed.text("listen-address"),
        credentials=Path(parsed.text("issuer-credentials")),
        files=FileNames(
            ca_crt=parsed.text("issuer-ca-filename") or _DEFAULT_NAMES.ca_crt,
            issuer_crt=parsed.text("issuer-certificate-filename") or _DEFAULT_NAMES.issuer_crt,
            issuer_key=parsed.text("issuer-key-filename") or _DEFAULT_NAMES.issuer_key,
            jwt_key=_absolute(parsed.text("jwt-key-filename")) or _DEFAULT_NAMES.jwt_key,
            jwks=_absolute(parsed.text("jwks-filename")) or _DEFAULT_NAMES.jwks,
        ),
        jwt=_jwt(parsed),
        oidc=_oidc(parsed),
        kubeconfig=parsed.text("kubeconfig"),
        watch_namespace=environment.get("WATCH_NAMESPACE", ""),
        service=ServiceSettings.read(parsed),
    )


def _identity(parsed: Parsed, environment: Mapping[str, str], kubernetes: bool) -> SpiffeId:
    namespace = environment.get("NAMESPACE", "")
    if kubernetes and not namespace:
        raise SettingsError("NAMESPACE is not set: it names the control plane's namespace")
    try:
        trust_domain = parse_trust_domain(parsed.text("trust-domain"))
    except SpiffeError as error:
        raise SettingsError(f"invalid value for --trust-domain: {error}") from error
    try:
        return SpiffeId.make(trust_domain, namespace or "default", "dapr-sentry")
    except SpiffeError as error:
        raise SettingsError(f"invalid value for NAMESPACE: {error}") from error


def _absolute(path: str) -> str:
    """Dapr ignores relative names of the JWT files."""
    return path if Path(path).is_absolute() else ""


def _jwt(parsed: Parsed) -> JwtSettings | None:
    if not parsed.flag("jwt-enabled"):
        if parsed.text("jwt-issuer"):
            raise SettingsError("--jwt-issuer needs --jwt-enabled")
        return None
    ttl = parsed.duration("jwt-ttl")
    if ttl <= timedelta(0):
        raise SettingsError("invalid value for --jwt-ttl: it must be more than 0")
    return JwtSettings(
        algorithm=parsed.text("jwt-signing-algorithm"),
        issuer=parsed.text("jwt-issuer"),
        key_id=parsed.text("jwt-key-id"),
        ttl=ttl,
    )


def _oidc(parsed: Parsed) -> OidcSettings | None:
    cert_file = parsed.text("oidc-server-tls-cert-file")
    key_file = parsed.text("oidc-server-tls-key-file")
    if bool(cert_file) != bool(key_file):
        raise SettingsError(
            "--oidc-server-tls-cert-file and --oidc-server-tls-key-file need each other"
        )
    if not (parsed.flag("oidc-enabled") and parsed.flag("jwt-enabled")):
        return None
    encrypted = parsed.flag("oidc-server-tls-enabled")
    if encrypted and not cert_file:
        raise SettingsError(
            "--oidc-enabled needs --oidc-server-tls-cert-file and --oidc-server-tls-key-file, or "
            "--oidc-server-tls-enabled=false behind a proxy that adds TLS"
        )
    return OidcSettings(
        port=port(parsed, "oidc-server-listen-port"),
        listen_address=parsed.text("oidc-server-listen-address"),
        cert_file=cert_file if encrypted else "",
        key_file=key_file if encrypted else "",
        jwks_uri=parsed.text("oidc-jwks-uri"),
        path_prefix=parsed.text("oidc-path-prefix"),
        allowed_hosts=tuple(parsed.texts("oidc-allowed-hosts")),
    )
