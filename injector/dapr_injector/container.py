"""The ``daprd`` container."""

from __future__ import annotations

from typing import Any

from dapr_common.kube.kinds import KubeObject
from dapr_injector.annotation_kinds import is_quantity
from dapr_injector.annotations import PREFIX, Annotations
from dapr_injector.arguments import HTTP_PORT, PUBLIC_PORT, command_line
from dapr_injector.environment import sidecar_environment
from dapr_injector.injection import Injection
from dapr_injector.pluggable import ComponentContainers
from dapr_injector.pod import SIDECAR, name_of
from dapr_injector.volumes import component_sockets_mount, sidecar_mounts

_WINDOWS_CERTIFICATES = "SSL_CERT_DIR"


def is_native(injection: Injection) -> bool:
    """Whether the sidecar is an init container that stays, started before the app."""
    own = injection.annotations.native_sidecar
    return injection.settings.native_sidecar if own is None else own


def sidecar(injection: Injection, components: ComponentContainers) -> KubeObject:
    """The container, without anything that is not set."""
    annotations, settings = injection.annotations, injection.settings
    _warn_of_equal_ports(injection)
    if annotations.debug:
        injection.warn(f"{PREFIX}enable-debug starts /dlv in the image: daprd's own has none")
    env = sidecar_environment(injection, components.sockets_folder)
    mounts = sidecar_mounts(injection)
    if components.sockets_folder:
        mounts.append(component_sockets_mount(components.sockets_folder))
    return {
        "name": SIDECAR,
        "image": settings.image if annotations.image is None else annotations.image,
        **command_line(injection),
        "ports": _ports(annotations),
        "env": env,
        "resources": _resources(annotations),
        **({"restartPolicy": "Always"} if is_native(injection) else {}),
        **({"volumeMounts": mounts} if mounts else {}),
        "livenessProbe": _liveness(annotations),
        "readinessProbe": _readiness(annotations),
        "imagePullPolicy": settings.image_pull_policy,
        "securityContext": _security_context(injection, env),
    }


def _ports(annotations: Annotations) -> list[KubeObject]:
    ports = {
        "dapr-http": HTTP_PORT,
        "dapr-grpc": annotations.grpc_port,
        "dapr-internal": annotations.internal_grpc_port,
        "dapr-metrics": annotations.metrics_port,
    }
    if annotations.debug:
        ports["dapr-debug"] = annotations.debug_port
    return [{"name": name, "containerPort": number} for name, number in ports.items()]


def _warn_of_equal_ports(injection: Injection) -> None:
    """All containers of a pod share its ports: of two programs, one would not start."""
    annotations = injection.annotations
    ports = {
        "the sidecar's HTTP port": HTTP_PORT,
        "the sidecar's public port": PUBLIC_PORT,
        f"{PREFIX}grpc-port": annotations.grpc_port,
        f"{PREFIX}internal-grpc-port": annotations.internal_grpc_port,
        f"{PREFIX}metrics-port": annotations.metrics_port if annotations.metrics else 0,
        f"{PREFIX}app-port": annotations.app_port,
    }
    seen: dict[int, str] = {}
    for name, number in ports.items():
        if number > 0 and number in seen:
            injection.warn(f"{name} is {number}, as {seen[number]} is: they must differ")
        seen.setdefault(number, name)


def _resources(annotations: Annotations) -> KubeObject:
    """Nothing at all when one of the four is unusable, which reading them has warned about."""
    limits = _filled(cpu=annotations.cpu_limit, memory=annotations.memory_limit)
    requests = _filled(cpu=annotations.cpu_request, memory=annotations.memory_request)
    if not all(map(is_quantity, (*limits.values(), *requests.values()))):
        return {}
    return _filled(limits=limits, requests=requests)


def _liveness(annotations: Annotations) -> KubeObject:
    return {
        "tcpSocket": {"port": PUBLIC_PORT},
        "initialDelaySeconds": annotations.liveness_delay,
        "timeoutSeconds": annotations.liveness_timeout,
        "periodSeconds": annotations.liveness_period,
        "failureThreshold": annotations.liveness_threshold,
    }


def _readiness(annotations: Annotations) -> KubeObject:
    return {
        "httpGet": {"path": "/v1.0/healthz", "port": PUBLIC_PORT},
        "initialDelaySeconds": annotations.readiness_delay,
        "timeoutSeconds": annotations.readiness_timeout,
        "periodSeconds": annotations.readiness_period,
        "failureThreshold": annotations.readiness_threshold,
    }


def _security_context(injection: Injection, env: list[KubeObject]) -> KubeObject:
    security = injection.settings.security
    context: KubeObject = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": security.run_as_non_root,
        "readOnlyRootFilesystem": security.read_only_root_filesystem,
    }
    if security.run_as_user is not None:
        context["runAsUser"] = security.run_as_user
    if security.run_as_group is not None:
        context["runAsGroup"] = security.run_as_group
    if profile := injection.annotations.seccomp_profile:
        context["seccompProfile"] = {"type": profile}
    if security.drop_all_capabilities:
        context["capabilities"] = {"drop": ["ALL"]}
    if any(name_of(one) == _WINDOWS_CERTIFICATES for one in env):
        _let_install_certificates(context)
    return context


def _let_install_certificates(context: KubeObject) -> None:
    """On Windows a sidecar with certificates of its own puts them into the system's store."""
    context["windowsOptions"] = {"runAsUserName": "ContainerAdministrator"}
    context["runAsNonRoot"] = False
    context["readOnlyRootFilesystem"] = False
    context.pop("runAsUser", None)
    context.pop("runAsGroup", None)


def _filled(**values: Any) -> KubeObject:
    return {name: value for name, value in values.items() if value}
