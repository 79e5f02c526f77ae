"""Flags and environment of the operator, as one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dapr_common.durations import parse_go_duration
from dapr_common.flags import Parsed
from dapr_common.program import ServiceSettings, SettingsError, port, refuse_root

_OFF = frozenset({"0", "false", "f", "no", "off"})
_LEAST_INTERVAL = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogSettings:
    """How pods left without a sidecar are healed."""

    interval: timedelta | None
    """``None``: one successful pass is enough."""
    restarts_per_minute: int
    """0 is without a limit."""
    may_label: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Where admission and conversion are served."""

    port: int
    listen_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the command line and the environment say."""

    namespace: str
    """The control plane's."""
    config: str
    watch_namespace: str
    """Empty is all."""
    in_cluster: bool
    kubeconfig: str
    """Empty: found as ``kubectl`` does."""
    trust_anchors_file: Path
    port: int
    listen_address: str
    leader_election: bool
    service_reconciler: bool
    argo_rollouts: bool
    watchdog: WatchdogSettings | None
    webhook: WebhookSettings | None
    service: ServiceSettings


def read(parsed: Parsed, environment: Mapping[str, str]) -> Settings:
    """Check and combine. Raises ``SettingsError``."""
    namespace = environment.get("NAMESPACE", "")
    if not namespace:
        raise SettingsError("NAMESPACE is not set: it names the control plane's namespace")
    in_cluster = bool(environment.get("KUBERNETES_SERVICE_HOST"))
    if in_cluster:
        refuse_root("operator", environment)
    return Settings(
        namespace=namespace,
        config=parsed.text("config"),
        watch_namespace=parsed.text("watch-namespace"),
        in_cluster=in_cluster,
        kubeconfig=parsed.text("kubeconfig"),
        trust_anchors_file=Path(parsed.text("trust-anchors-file")),
        port=port(parsed, "port"),
        listen_address=parsed.text("listen-address"),
        leader_election=not parsed.flag("disable-leader-election"),
        service_reconciler=not parsed.flag("disable-service-reconciler"),
        argo_rollouts=parsed.flag("enable-argo-rollout-service-reconciler"),
        watchdog=_watchdog(parsed),
        webhook=_webhook(parsed, environment),
        service=ServiceSettings.read(parsed),
    )


def _watchdog(parsed: Parsed) -> WatchdogSettings | None:
    text = parsed.text("watch-interval").strip().lower()
    if text in _OFF:
        return None
    return WatchdogSettings(
        interval=None if text == "once" else _interval(text),
        restarts_per_minute=max(parsed.number("max-pod-restarts-per-minute"), 0),
        may_label=parsed.flag("watchdog-can-patch-pod-labels"),
    )


def _interval(text: str) -> timedelta:
    wanted = "use a duration of at least 1s, once, or 0 to turn the watchdog off"
    try:
        interval = parse_go_duration(text)
    except ValueError as error:
        raise SettingsError(f'invalid value for --watch-interval: "{text}": {wanted}') from error
    if interval < _LEAST_INTERVAL:
        raise SettingsError(f'invalid value for --watch-interval: "{text}": {wanted}')
    return interval


def _webhook(parsed: Parsed, environment: Mapping[str, str]) -> WebhookSettings | None:
    if environment.get("ENABLE_WEBHOOKS", "").strip().lower() == "false":
        return None
    return WebhookSettings(
        port=port(parsed, "webhook-server-port"),
        listen_address=parsed.text("webhook-server-listen-address"),
    )
