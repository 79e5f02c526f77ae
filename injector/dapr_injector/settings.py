"""Flags and environment of the injector, as one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from dapr_common.flags import Flag, Parsed
from dapr_common.kube.kinds import KubeObject
from dapr_common.program import KUBECONFIG_FLAG, SERVICE_FLAGS, ServiceSettings, SettingsError, port
from dapr_common.security.spiffe import SpiffeError, SpiffeId
from dapr_common.words import is_truthy
from dapr_injector.callers import BUILT_IN, AccountPattern, PatternError, parse_patterns

FLAGS: tuple[Flag, ...] = (
    Flag("port", "int", 4000, "port of the admission webhook (HTTPS)"),
    Flag("listen-address", "string", "", "address of the admission webhook; empty is all"),
    Flag("scheduler-enabled", "bool", True, "tell sidecars where the scheduler is"),
    KUBECONFIG_FLAG,
    *SERVICE_FLAGS,
)
PLACEMENT = "placement"
_PLACEMENT_ADDRESS = "dapr-placement-server:50005"
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MOST_PORT = 65535


@dataclass(frozen=True, slots=True)
class NamedService:
    """A service of the control plane that has a name of its own: actors' or reminders'."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SecuritySettings:
    """The security context of sidecars. ``None`` is not set."""

    run_as_non_root: bool = True
    run_as_user: int | None = None
    run_as_group: int | None = None
    read_only_root_filesystem: bool = True
    drop_all_capabilities: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the command line and the environment say."""

    port: int
    listen_address: str
    kubeconfig: str
    """Empty: found as ``kubectl`` does."""
    scheduler_enabled: bool
    identity: SpiffeId
    """The injector's own: the control plane's trust domain and namespace."""
    cluster_domain: str
    allowed_accounts: tuple[AccountPattern, ...]
    """The built-in ones, then those of the environment."""
    image: str
    image_pull_policy: str
    security: SecuritySettings
    native_sidecar: bool
    host_ip: bool
    """Whether sidecars are told the pod's address."""
    ignore_entrypoint_tolerations: tuple[KubeObject, ...]
    actors_service: NamedService | None
    reminders_service: NamedService | None
    component_sockets_folder: str
    trust_anchors_file: Path
    sentry_address: str
    service: ServiceSettings
    notices: tuple[str, ...] = ()
    """What is worth a warning when the logs are there."""

    @property
    def sentry_id(self) -> SpiffeId:
        """The audience of the tokens that sidecars show to sentry."""
        return SpiffeId(self.identity.trust_domain, self.identity.namespace, "dapr-sentry")

    def address_of(self, service: str, service_port: int) -> str:
        """Where a service of the control plane is, by its DNS name."""
        return f"{service}.{self.identity.namespace}.svc.{self.cluster_domain}:{service_port}"


def read(
    parsed: Parsed, environment: Mapping[str, str], resolv_conf: Path = Path("/etc/resolv.conf")
) -> Settings:
    """Check and combine. Raises ``SettingsError``."""
    notices: list[str] = []
    return Settings(
        port=port(parsed, "port"),
        listen_address=parsed.text("listen-address"),
        kubeconfig=parsed.text("kubeconfig"),
        scheduler_enabled=parsed.flag("scheduler-enabled"),
        identity=_identity(environment),
        cluster_domain=environment.get("KUBE_CLUSTER_DOMAIN") or find_cluster_domain(resolv_conf),
        allowed_accounts=_allowed_accounts(environment),
        image=_required(environment, "SIDECAR_IMAGE", "it names the image of daprd"),
        image_pull_policy=_pull_policy(environment, notices),
        security=SecuritySettings(
            run_as_non_root=_switch(environment, "SIDECAR_RUN_AS_NON_ROOT", default=True),
            run_as_user=_number(environment, "SIDECAR_RUN_AS_USER"),
            run_as_group=_number(environment, "SIDECAR_RUN_AS_GROUP"),
            read_only_root_filesystem=_switch(
                environment, "SIDECAR_READ_ONLY_ROOT_FILESYSTEM", default=True
            ),
            drop_all_capabilities=_switch(environment, "SIDECAR_DROP_ALL_CAPABILITIES"),
        ),
        native_sidecar=_switch(environment, "NATIVE_SIDECAR_ENABLED"),
        host_ip=_switch(environment, "ENABLE_K8S_DOWNWARD_APIS"),
        ignore_entrypoint_tolerations=_tolerations(environment, notices),
        actors_service=_actors_service(environment),
        reminders_service=_reminders_service(environment),
        component_sockets_folder=(
            environment.get("DAPR_COMPONENT_SOCKETS_FOLDER") or "/tmp/dapr-components-sockets"  # noqa: S108 - a path inside the pod
        ),
        trust_anchors_file=Path(
            environment.get("DAPR_TRUST_ANCHORS_FILE") or "/var/run/dapr.io/tls/ca.crt"
        ),
        sentry_address=environment.get("DAPR_SENTRY_ADDRESS", ""),
        service=ServiceSettings.read(parsed),
        notices=tuple(notices),
    )


def find_cluster_domain(resolv_conf: Path) -> str:
    """The DNS domain of the cluster: what follows ``svc.`` in a pod's search list."""
    try:
        lines = resolv_conf.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        keyword, *domains = line.split() or [""]
        for word in domains if keyword == "search" else ():
            if word.startswith("svc.") and (domain := word.removeprefix("svc.").rstrip(".")):
                return domain
    return "cluster.local"


def _identity(environment: Mapping[str, str]) -> SpiffeId:
    namespace = _required(environment, "NAMESPACE", "it names the control plane's namespace")
    trust_domain = environment.get("DAPR_CONTROL_PLANE_TRUST_DOMAIN") or "cluster.local"
    try:
        return SpiffeId.make(trust_domain, namespace, "dapr-injector")
    except SpiffeError as error:
        raise SettingsError(
            f"NAMESPACE and DAPR_CONTROL_PLANE_TRUST_DOMAIN make no identity: {error}"
        ) from error


def _allowed_accounts(environment: Mapping[str, str]) -> tuple[AccountPattern, ...]:
    patterns = list(BUILT_IN)
    for name in ("ALLOWED_SERVICE_ACCOUNTS", "ALLOWED_SERVICE_ACCOUNTS_PREFIX_NAMES"):
        try:
            patterns += parse_patterns(environment.get(name, ""))
        except PatternError as error:
            raise SettingsError(f"invalid value for {name}: {error}") from error
    return tuple(patterns)


def _pull_policy(environment: Mapping[str, str], notices: list[str]) -> str:
    policy = environment.get("SIDECAR_IMAGE_PULL_POLICY") or "Always"
    if policy in _PULL_POLICIES:
        return policy
    notices.append(
        f'SIDECAR_IMAGE_PULL_POLICY is "{policy}", IfNotPresent is used: '
        f"expected one of {', '.join(_PULL_POLICIES)}"
    )
    return "IfNotPresent"


def _tolerations(environment: Mapping[str, str], notices: list[str]) -> tuple[KubeObject, ...]:
    name = "IGNORE_ENTRYPOINT_TOLERATIONS"
    if not (text := environment.get(name, "").strip()):
        return ()
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        notices.append(f"{name} is ignored, it is not JSON: {error}")
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        notices.append(f"{name} is ignored: expected a JSON array of tolerations")
        return ()
    return tuple(value)


def _actors_service(environment: Mapping[str, str]) -> NamedService | None:
    if not _switch(environment, "ACTORS_ENABLED", default=True):
        return None
    name = environment.get("ACTORS_SERVICE_NAME", "")
    address = environment.get("ACTORS_SERVICE_ADDRESS", "")
    if not name:
        address = address or _PLACEMENT_ADDRESS
    return _named_service(name or PLACEMENT, "ACTORS_SERVICE_ADDRESS", address)


def _reminders_service(environment: Mapping[str, str]) -> NamedService | None:
    name = environment.get("REMINDERS_SERVICE_NAME", "")
    if name in ("", "default"):
        return None
    address = environment.get("REMINDERS_SERVICE_ADDRESS", "")
    return _named_service(name, "REMINDERS_SERVICE_ADDRESS", address)


def _named_service(name: str, variable: str, address: str) -> NamedService:
    host, _, text = address.rpartition(":")
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    if not host or ":" in host or not 1 <= number <= _MOST_PORT:
        raise SettingsError(f'invalid value for {variable}: "{address}": expected service:port')
    return NamedService(name, host, number)


def _required(environment: Mapping[str, str], name: str, meaning: str) -> str:
    if not (value := environment.get(name, "")):
        raise SettingsError(f"{name} is not set: {meaning}")
    return value


def _switch(environment: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    """Empty is the default: nobody asks for a root sidecar with an empty text."""
    text = environment.get(name, "").strip()
    return is_truthy(text) if text else default


def _number(environment: Mapping[str, str], name: str) -> int | None:
    if not (text := environment.get(name, "").strip()):
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise SettingsError(f'invalid value for {name}: "{text}": expected a whole number')
    return int(text)
