"""Environment variables: the sidecar's, and those that app containers find."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dapr_common.kube.kinds import KubeObject
from dapr_injector.annotation_reading import Warn
from dapr_injector.annotations import PREFIX
from dapr_injector.arguments import HTTP_PORT
from dapr_injector.injection import Injection

COMPONENT_SOCKETS = "DAPR_COMPONENT_SOCKETS_FOLDER"
_TOKEN_KEY = "token"  # noqa: S105 - the key in the secret, not a token
_BETWEEN = re.compile(r",\s*(?=[A-Za-z_][A-Za-z0-9_]*=)")
_WITH_TLS = {"http": "https", "grpc": "grpcs"}
_PROTOCOLS = frozenset({"http", "https", "grpc", "grpcs", "h2c"})


def sidecar_environment(injection: Injection, sockets_folder: str) -> list[KubeObject]:
    """The sidecar's variables, in Dapr's order. ``sockets_folder`` is empty without components."""
    settings, annotations = injection.settings, injection.annotations
    env = [
        variable("NAMESPACE", injection.namespace),
        variable("DAPR_TRUST_ANCHORS", injection.facts.trust_anchors),
        _from_field("POD_NAME", "metadata.name"),
        variable("DAPR_CONTROLPLANE_NAMESPACE", settings.identity.namespace),
        variable("DAPR_CONTROLPLANE_TRUST_DOMAIN", settings.identity.trust_domain),
    ]
    if settings.host_ip:
        env.append(_from_field("DAPR_HOST_IP", "status.podIP"))
    env += _user_variables(injection)
    if sockets_folder:
        env.append(variable(COMPONENT_SOCKETS, sockets_folder))
    if secret := annotations.api_token_secret:
        env.append(_from_secret("DAPR_API_TOKEN", secret, _TOKEN_KEY))
    if secret := annotations.app_token_secret:
        env.append(_from_secret("APP_API_TOKEN", secret, _TOKEN_KEY))
    return env


def app_environment(injection: Injection) -> list[KubeObject]:
    """How an app finds its sidecar, and which protocol it is expected to speak."""
    annotations = injection.annotations
    env = [
        variable("DAPR_HTTP_PORT", str(HTTP_PORT)),
        variable("DAPR_GRPC_PORT", str(annotations.grpc_port)),
    ]
    protocol = annotations.app_protocol.strip().lower()
    if annotations.app_ssl:
        protocol = _WITH_TLS.get(protocol, protocol)
    if protocol in _PROTOCOLS:
        env.append(variable("APP_PROTOCOL", protocol))
    return env


def variable(name: str, value: str) -> KubeObject:
    """A variable with a value."""
    return {"name": name, "value": value}


def _user_variables(injection: Injection) -> list[KubeObject]:
    """Those of the annotations, and the list of their names, which limits what Components read."""
    names: list[str] = []
    env: list[KubeObject] = []
    for name, value in _pairs(injection.annotations.env, "env", injection.warn):
        names.append(name)
        env.append(variable(name, value))
    for name, value in _pairs(
        injection.annotations.env_from_secret, "env-from-secret", injection.warn
    ):
        names.append(name)
        reference = value.split(":")
        if len(reference) <= 2 and all(reference):
            env.append(_from_secret(name, reference[0], reference[-1]))
        else:
            injection.warn(
                f"{PREFIX}env-from-secret has no usable secret for {name[:60]}, ignored: expected "
                "NAME=secret or NAME=secret:key"
            )
    if names:
        env.append(variable("DAPR_ENV_KEYS", " ".join(names)))
    return env


def _pairs(text: str, annotation: str, warn: Warn) -> Iterator[tuple[str, str]]:
    """``NAME=value`` pairs; values may hold commas, except where another ``NAME=`` follows."""
    if not text.strip():
        return
    for number, part in enumerate(_BETWEEN.split(text), start=1):
        name, equals, value = part.strip().partition("=")
        if name and equals:
            yield name, value
        else:  # the text may hold a secret: it is not repeated
            warn(f"part {number} of {PREFIX}{annotation} is not NAME=value, ignored")


def _from_field(name: str, path: str) -> KubeObject:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _from_secret(name: str, secret: str, key: str) -> KubeObject:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
