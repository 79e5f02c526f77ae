"""Flags and environment of placement, as one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dapr_common.flags import Parsed
from dapr_common.program import ServiceSettings, SettingsError, is_kubernetes, port, refuse_root
from dapr_common.words import is_truthy
from dapr_placement.lock_address import LockAddress, LockAddressError, parse_lock_address
from dapr_placement.namespaces import Rules

_LEAST_KEEPALIVE, _MOST_KEEPALIVE = timedelta(seconds=1), timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockSettings:
    """What several servers decide by which one leads, and how it is reached."""

    address: LockAddress
    token_file: str = ""
    password_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How an identity is got (``--tls-enabled``)."""

    trust_domain: str
    trust_anchors_file: Path
    sentry_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the command line and the environment say."""

    node_id: str
    namespace: str
    """The control plane's."""
    kubernetes: bool
    kubeconfig: str
    """Empty: found as ``kubectl`` does."""
    lock: LockSettings | None
    """``None``: a Lease in Kubernetes; elsewhere this server is the only one."""
    port: int
    listen_address: str
    rules: Rules
    keepalive_time: timedelta
    keepalive_timeout: timedelta
    shows_state: bool
    exit_when_idle: timedelta | None
    """``None``: stay until told to stop."""
    tls: TlsSettings | None
    service: ServiceSettings


def read(parsed: Parsed, environment: Mapping[str, str]) -> Settings:
    """Check and combine. Raises ``SettingsError``."""
    kubernetes = is_kubernetes(parsed)
    if kubernetes:
        refuse_root("placement", environment)
    lock = _lock(parsed)
    _check_cluster(parsed, decided=kubernetes or lock is not None)
    return Settings(
        node_id=parsed.text("id"),
        namespace=environment.get("NAMESPACE") or "default",
        kubernetes=kubernetes,
        kubeconfig=environment.get("KUBE_CONFIG", ""),
        lock=lock,
        port=port(parsed, "port"),
        listen_address=parsed.text("listen-address"),
        rules=_rules(parsed),
        keepalive_time=_keepalive(parsed, "keepalive-time"),
        keepalive_timeout=_keepalive(parsed, "keepalive-timeout"),
        exit_when_idle=parsed.duration("exit-when-idle") or None,
        shows_state=_shows_state(parsed, environment),
        tls=_tls(parsed),
        service=ServiceSettings.read(parsed),
    )


def _check_cluster(parsed: Parsed, *, decided: bool) -> None:
    """Several servers need something that decides which one leads."""
    if "initial-cluster" not in parsed.given:
        return
    entries = parsed.texts("initial-cluster")
    names = [entry.partition("=")[0] for entry in entries]
    if any("=" not in entry or not name for entry, name in zip(entries, names, strict=True)):
        raise SettingsError(
            f'invalid value for --initial-cluster: "{",".join(entries)}": use id=host:port,...'
        )
    if parsed.text("id") not in names:
        raise SettingsError(
            f"--initial-cluster does not name this server: --id {parsed.text('id')}"
        )
    if len(set(names)) > 1 and not decided:
        raise SettingsError(
            f"--initial-cluster names {len(set(names))} servers, and nothing decides which one "
            "leads: give all of them the same --leader-lock, for example "
            "consul://127.0.0.1:8500/dapr/placement (Raft is not spoken between them)"
        )


def _lock(parsed: Parsed) -> LockSettings | None:
    files = {
        name: parsed.text(f"leader-lock-{name.replace('_', '-')}")
        for name in ("token_file", "password_file", "ca_file", "cert_file", "key_file")
    }
    text = parsed.text("leader-lock")
    if not text:
        if given := next((name for name, value in files.items() if value), ""):
            raise SettingsError(f"--leader-lock-{given.replace('_', '-')} needs --leader-lock")
        return None
    try:
        address = parse_lock_address(text)
    except LockAddressError as error:
        raise SettingsError(f"invalid value for --leader-lock: {error}") from error
    if bool(files["cert_file"]) != bool(files["key_file"]):
        raise SettingsError("--leader-lock-cert-file and --leader-lock-key-file need each other")
    return LockSettings(address=address, **files)


def _rules(parsed: Parsed) -> Rules:
    timeout = parsed.duration("disseminate-timeout")
    window = parsed.duration("disseminate-coalesce-window")
    factor = parsed.number("replicationFactor")
    if timeout <= timedelta(0):
        raise SettingsError("invalid value for --disseminate-timeout: it must be more than 0")
    if window < timedelta(0):
        raise SettingsError("invalid value for --disseminate-coalesce-window: it is less than 0")
    if factor < 1:
        raise SettingsError(f"invalid value for --replicationFactor: {factor}: use 1 or more")
    silence = _keepalive(parsed, "keepalive-time") + _keepalive(parsed, "keepalive-timeout")
    return Rules(timeout=timeout, window=window, replication_factor=factor, silence=silence)


def _keepalive(parsed: Parsed, name: str) -> timedelta:
    value = parsed.duration(name)
    if not _LEAST_KEEPALIVE <= value <= _MOST_KEEPALIVE:
        raise SettingsError(f"invalid value for --{name}: it must be between 1s and 10s")
    return value


def _shows_state(parsed: Parsed, environment: Mapping[str, str]) -> bool:
    if "metadata-enabled" in parsed.given:
        return parsed.flag("metadata-enabled")
    return is_truthy(environment.get("DAPR_PLACEMENT_METADATA_ENABLED", ""))


def _tls(parsed: Parsed) -> TlsSettings | None:
    if not parsed.flag("tls-enabled"):
        return None
    return TlsSettings(
        trust_domain=parsed.text("trust-domain"),
        trust_anchors_file=Path(parsed.text("trust-anchors-file")),
        sentry_address=parsed.text("sentry-address"),
    )
