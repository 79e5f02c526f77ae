"""What each annotation and each setting changes in the daprd container, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dapr_injector.annotations import TABLE

Change = dict[str, Any]


def flags_of(container: dict[str, Any]) -> list[str]:
    """Flags with their values joined, so that two lists can be compared as sets."""
    joined: list[str] = []
    for word in container["args"]:
        if not joined or word.startswith("--"):
            joined.append(word)
        else:
            joined[-1] += f" {word}"
    return joined


def difference(before: dict[str, Any], after: dict[str, Any]) -> Change:
    """What ``after`` has and ``before`` has not; flags are told apart, ``-flag`` is a lost one."""
    change: Change = {
        key: after[key]
        for key in after
        if key not in ("args", "env") and before.get(key) != after[key]
    }
    old, new = flags_of(before), flags_of(after)
    flags = [flag for flag in new if flag not in old] + [f"-{f}" for f in old if f not in new]
    if flags:
        change["flags"] = flags
    if env := [variable for variable in after["env"] if variable not in before["env"]]:
        change["env"] = env
    return change


def swap(flag: str, old: str, new: str) -> Change:
    return {"flags": [f"{flag} {new}", f"-{flag} {old}"]}


def added(*flags: str) -> Change:
    return {"flags": list(flags)}


def ports(**changed: int) -> list[dict[str, Any]]:
    numbers = {"http": 3500, "grpc": 50001, "internal": 50002, "metrics": 9090} | changed
    return [{"name": f"dapr-{name}", "containerPort": port} for name, port in numbers.items()]


def liveness(**changed: int) -> dict[str, Any]:
    numbers = {"initialDelaySeconds": 180, "timeoutSeconds": 3, "periodSeconds": 10}
    return {"livenessProbe": {"tcpSocket": {"port": 3501}} | numbers | FAILURES | changed}


def readiness(**changed: int) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/v1.0/healthz", "port": 3501}}
    numbers = {"initialDelaySeconds": 1, "timeoutSeconds": 1, "periodSeconds": 1}
    return {"readinessProbe": probe | numbers | FAILURES | changed}


FAILURES = {"failureThreshold": 5}
SECURITY = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "readOnlyRootFilesystem": True,
}
IDENTITY_MOUNT = {
    "name": "dapr-identity-token",
    "readOnly": True,
    "mountPath": "/var/run/secrets/dapr.io/sentrytoken",
}
HEALTH_FLAGS = (
    "--app-health-check-path /healthz",
    "--app-health-probe-interval 5",
    "--app-health-probe-timeout 500",
    "--app-health-threshold 3",
)
SCHEDULER = "dapr-scheduler-server-a.dapr-system.svc.cluster.local:443"
PLACEMENT = "dapr-placement-server.dapr-system.svc.cluster.local:50005"

ANNOTATIONS: list[tuple[dict[str, str], Change]] = [
    ({"enabled": "True"}, {}),
    ({"app-id": "billing"}, swap("--app-id", "orders", "billing")),
    ({"app-id": ""}, swap("--app-id", "orders", "orders-1")),
    ({"app-port": "8080"}, added("--app-port 8080")),
    ({"app-port": "0"}, {}),
    ({"app-port": "-1"}, {}),
    ({"app-port": "eighty"}, {}),
    ({"app-protocol": "grpc"}, swap("--app-protocol", "http", "grpc")),
    ({"app-protocol": "telepathy"}, swap("--app-protocol", "http", "telepathy")),
    ({"app-ssl": "yes"}, added("--app-ssl")),
    ({"app-ssl": "certainly"}, {}),
    ({"app-channel-address": "10.1.1.1"}, added("--app-channel-address 10.1.1.1")),
    ({"app-max-concurrency": "0"}, added("--app-max-concurrency 0")),
    ({"app-max-concurrency": ""}, {}),
    ({"enable-app-health-check": "on"}, added("--enable-app-health-check", *HEALTH_FLAGS)),
    ({"app-health-check-path": "/up"}, {}),
    (
        {
            "enable-app-health-check": "t",
            "app-health-check-path": "/up",
            "app-health-probe-interval": "1",
            "app-health-probe-timeout": "20",
            "app-health-threshold": "2",
        },
        added(
            "--enable-app-health-check",
            "--app-health-check-path /up",
            "--app-health-probe-interval 1",
            "--app-health-probe-timeout 20",
            "--app-health-threshold 2",
        ),
    ),
    ({"app-binding-options-timeout": "4s"}, added("--app-binding-options-timeout 4s")),
    ({"config": "tracing"}, added("--config tracing")),
    ({"config": ""}, {}),
    (
        {"grpc-port": "6001"},
        swap("--dapr-grpc-port", "50001", "6001") | {"ports": ports(grpc=6001)},
    ),
    (
        {"internal-grpc-port": "6002"},
        swap("--dapr-internal-grpc-port", "50002", "6002") | {"ports": ports(internal=6002)},
    ),
    (
        {"sidecar-listen-addresses": "0.0.0.0"},
        swap("--dapr-listen-addresses", "[::1],127.0.0.1", "0.0.0.0"),
    ),
    ({"max-body-size": "8Mi"}, added("--max-body-size 8Mi")),
    ({"read-buffer-size": "8Ki"}, added("--read-buffer-size 8Ki")),
    ({"http-max-request-size": "8"}, added("--dapr-http-max-request-size 8")),
    ({"http-read-buffer-size": "8"}, added("--dapr-http-read-buffer-size 8")),
    (
        {"disable-builtin-k8s-secret-store": "1"},
        added("--disable-builtin-k8s-secret-store"),
    ),
    ({"disable-init-endpoints": "config"}, added("--disable-init-endpoints config")),
    ({"sentry-request-jwt-audiences": "x,y"}, added("--sentry-request-jwt-audiences x,y")),
    ({"log-level": "debug"}, swap("--log-level", "info", "debug")),
    ({"log-as-json": "true"}, added("--log-as-json")),
    ({"enable-api-logging": "true"}, added("--enable-api-logging=true")),
    ({"enable-api-logging": "no"}, added("--enable-api-logging=false")),
    ({"enable-metrics": "false"}, added("---enable-metrics", "---metrics-port 9090")),
    (
        {"metrics-port": "9999"},
        swap("--metrics-port", "9090", "9999") | {"ports": ports(metrics=9999)},
    ),
    ({"enable-profiling": "true"}, added("--enable-profiling")),
    ({"debug-port": "4567"}, {}),
    (
        {"enable-debug": "true", "debug-port": "4567"},
        {
            "flags": [
                "/dlv",
                "--listen :4567",
                "--accept-multiclient",
                "--headless=true",
                "--log",
                "--api-version=2 exec /daprd",
                "--",
                "-/daprd",
            ],
            "ports": ports(debug=4567),
        },
    ),
    ({"placement-host-address": ""}, added(f"---placement-host-address {PLACEMENT}")),
    (
        {"placement-host-address": ' "p:1,q:2" '},
        swap("--placement-host-address", PLACEMENT, "p:1,q:2"),
    ),
    ({"scheduler-host-address": "'s:1'"}, swap("--scheduler-host-address", SCHEDULER, "s:1")),
    ({"scheduler-host-address": ""}, swap("--scheduler-host-address", SCHEDULER, "")),
    ({"actors-disseminate-timeout": "9s"}, added("--actors-disseminate-timeout 9s")),
    (
        {"graceful-shutdown-seconds": "30"},
        swap("--dapr-graceful-shutdown-seconds", "-1", "30"),
    ),
    ({"block-shutdown-duration": "1m"}, added("--dapr-block-shutdown-duration 1m")),
    ({"sidecar-image": "mine:2"}, {"image": "mine:2"}),
    ({"enable-native-sidecar": "true"}, {"restartPolicy": "Always"}),
    (
        {"sidecar-seccomp-profile-type": "RuntimeDefault"},
        {"securityContext": SECURITY | {"seccompProfile": {"type": "RuntimeDefault"}}},
    ),
    (
        {"sidecar-cpu-request": "0.1", "sidecar-memory-limit": "1e9"},
        {"resources": {"requests": {"cpu": "0.1"}, "limits": {"memory": "1e9"}}},
    ),
    (
        {"sidecar-cpu-limit": "300m", "sidecar-memory-request": "64Mi"},
        {"resources": {"requests": {"memory": "64Mi"}, "limits": {"cpu": "300m"}}},
    ),
    ({"sidecar-cpu-limit": "300m", "sidecar-memory-request": "64 Mi"}, {}),
    ({"sidecar-liveness-probe-delay-seconds": "7"}, liveness(initialDelaySeconds=7)),
    ({"sidecar-liveness-probe-timeout-seconds": "7"}, liveness(timeoutSeconds=7)),
    ({"sidecar-liveness-probe-period-seconds": "7"}, liveness(periodSeconds=7)),
    ({"sidecar-liveness-probe-threshold": "7"}, liveness(failureThreshold=7)),
    ({"sidecar-readiness-probe-delay-seconds": "7"}, readiness(initialDelaySeconds=7)),
    ({"sidecar-readiness-probe-timeout-seconds": "7"}, readiness(timeoutSeconds=7)),
    ({"sidecar-readiness-probe-period-seconds": "7"}, readiness(periodSeconds=7)),
    ({"sidecar-readiness-probe-threshold": "7"}, readiness(failureThreshold=7)),
    (
        {"unix-domain-socket-path": "/app/sockets"},
        {
            "flags": ["--unix-domain-socket /var/run/dapr-sockets"],
            "volumeMounts": [
                {"name": "dapr-unix-domain-socket", "mountPath": "/var/run/dapr-sockets"},
                IDENTITY_MOUNT,
            ],
        },
    ),
    (
        {
            "volume-mounts": "certs:/certs, gone:/x,certs:/a:/b",
            "volume-mounts-rw": "certs:/var/certs",
        },
        {
            "volumeMounts": [
                {"name": "certs", "readOnly": True, "mountPath": "/certs"},
                {"name": "certs", "mountPath": "/var/certs"},
                IDENTITY_MOUNT,
            ]
        },
    ),
    (
        {"env": "A=1, B=x,y ,C=a=b,=lost"},
        {
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "value": "x,y"},
                {"name": "C", "value": "a=b,=lost"},
                {"name": "DAPR_ENV_KEYS", "value": "A B C"},
            ]
        },
    ),
    (
        {"env-from-secret": "A=vault:key,B=pass,C=a:b:c,D=vault:"},
        {
            "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "key"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "pass", "key": "pass"}}},
                {"name": "DAPR_ENV_KEYS", "value": "A B C D"},
            ]
        },
    ),
    (
        {"api-token-secret": "in"},
        {
            "env": [
                {
                    "name": "DAPR_API_TOKEN",
                    "valueFrom": {"secretKeyRef": {"name": "in", "key": "token"}},
                }
            ]
        },
    ),
    (
        {"app-token-secret": "out"},
        {
            "env": [
                {
                    "name": "APP_API_TOKEN",
                    "valueFrom": {"secretKeyRef": {"name": "out", "key": "token"}},
                }
            ]
        },
    ),
    (
        {"pluggable-components": "store", "pluggable-components-sockets-folder": "/s"},
        {
            "volumeMounts": [
                IDENTITY_MOUNT,
                {"name": "dapr-components-unix-domain-socket", "mountPath": "/s"},
            ],
            "env": [{"name": "DAPR_COMPONENT_SOCKETS_FOLDER", "value": "/s"}],
        },
    ),
    ({"pluggable-components": "nobody"}, {}),
    ({"inject-pluggable-components": "true"}, {}),
    ({"sidecar-svc-annotations": "a=b"}, {}),
]


@pytest.mark.parametrize(("annotations", "change"), ANNOTATIONS, ids=lambda value: repr(value)[:60])
def test_an_annotation_changes_this_and_nothing_else(
    annotations: dict[str, str],
    change: Change,
    admit: Callable[..., Any],
    make_pod: Callable[..., Any],
) -> None:
    spec = {
        "containers": [{"name": "app", "image": "a"}, {"name": "store", "image": "b"}],
        "volumes": [{"name": "certs", "emptyDir": {}}],
    }
    plain = admit(make_pod(**spec)).sidecar
    changed = admit(make_pod(annotations, **spec)).sidecar

    assert difference(plain, changed) == change


def test_every_annotation_has_a_case() -> None:
    assert {name for annotations, _ in ANNOTATIONS for name in annotations} == set(TABLE)


SETTINGS: list[tuple[dict[str, str], Change]] = [
    ({"SIDECAR_IMAGE_PULL_POLICY": "Never"}, {"imagePullPolicy": "Never"}),
    ({"SIDECAR_IMAGE_PULL_POLICY": "sometimes"}, {"imagePullPolicy": "IfNotPresent"}),
    ({"ACTORS_ENABLED": "off"}, added(f"---placement-host-address {PLACEMENT}")),
    (
        {"ACTORS_SERVICE_NAME": "mine", "ACTORS_SERVICE_ADDRESS": "svc:7"},
        added(
            "--actors-service mine:svc.dapr-system.svc.cluster.local:7",
            f"---placement-host-address {PLACEMENT}",
        ),
    ),
    (
        {"REMINDERS_SERVICE_NAME": "mine", "REMINDERS_SERVICE_ADDRESS": "svc:7"},
        added("--reminders-service mine:svc.dapr-system.svc.cluster.local:7"),
    ),
    ({"REMINDERS_SERVICE_NAME": "default"}, {}),
    ({"SIDECAR_RUN_AS_NON_ROOT": "false"}, {"securityContext": SECURITY | {"runAsNonRoot": False}}),
    ({"SIDECAR_RUN_AS_NON_ROOT": ""}, {}),
    (
        {"SIDECAR_RUN_AS_USER": "0", "SIDECAR_RUN_AS_GROUP": "7"},
        {"securityContext": SECURITY | {"runAsUser": 0, "runAsGroup": 7}},
    ),
    (
        {"SIDECAR_READ_ONLY_ROOT_FILESYSTEM": "n"},
        {"securityContext": SECURITY | {"readOnlyRootFilesystem": False}},
    ),
    (
        {"SIDECAR_DROP_ALL_CAPABILITIES": "T"},
        {"securityContext": SECURITY | {"capabilities": {"drop": ["ALL"]}}},
    ),
    (
        {"ENABLE_K8S_DOWNWARD_APIS": " On "},
        {
            "env": [
                {
                    "name": "DAPR_HOST_IP",
                    "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}},
                }
            ]
        },
    ),
    ({"NATIVE_SIDECAR_ENABLED": "1"}, {"restartPolicy": "Always"}),
]


@pytest.mark.parametrize(("environment", "change"), SETTINGS, ids=lambda value: repr(value)[:60])
def test_a_setting_changes_this_and_nothing_else(
    environment: dict[str, str],
    change: Change,
    admit: Callable[..., Any],
    make_pod: Callable[..., Any],
    make_settings: Callable[..., Any],
) -> None:
    plain = admit(make_pod()).sidecar
    changed = admit(make_pod(), settings=make_settings(environment)).sidecar

    assert difference(plain, changed) == change


def test_without_a_scheduler_its_address_is_left_out(
    admit: Callable[..., Any], make_pod: Callable[..., Any], make_settings: Callable[..., Any]
) -> None:
    settings = make_settings({}, "--scheduler-enabled=false")
    plain = admit(make_pod()).sidecar

    assert difference(plain, admit(make_pod(), settings=settings).sidecar) == added(
        f"---scheduler-host-address {SCHEDULER}"
    )
    own = admit(make_pod({"scheduler-host-address": "s:1"}), settings=settings).sidecar
    assert "--scheduler-host-address s:1" in flags_of(own)


def test_mtls_and_the_identity_follow_the_cluster(
    admit: Callable[..., Any], make_pod: Callable[..., Any]
) -> None:
    plain = admit(make_pod())
    open_cluster = admit(make_pod(), facts={"mtls_enabled": False})
    no_token = admit(make_pod(), facts={"has_identity_token": False})

    assert difference(plain.sidecar, open_cluster.sidecar) == added("---enable-mtls")
    assert "volumeMounts" not in no_token.sidecar
    assert "volumes" not in no_token.pod["spec"]


def test_an_address_of_the_pods_own_stands_above_other_actors_services(
    admit: Callable[..., Any], make_pod: Callable[..., Any], make_settings: Callable[..., Any]
) -> None:
    settings = make_settings({"ACTORS_SERVICE_NAME": "mine", "ACTORS_SERVICE_ADDRESS": "svc:7"})
    sidecar = admit(make_pod({"placement-host-address": "p:1"}), settings=settings).sidecar

    assert "--placement-host-address p:1" in flags_of(sidecar)
    assert not any(flag.startswith("--actors-service") for flag in flags_of(sidecar))


@pytest.mark.parametrize(
    ("toleration", "split"),
    [
        ({"key": "virtual", "effect": "NoSchedule"}, True),
        ({"key": "virtual", "effect": "NoSchedule", "value": ""}, True),
        ({"key": "virtual", "effect": "NoSchedule", "operator": "Exists"}, False),
        ({"key": "virtual"}, False),
    ],
)
def test_nodes_that_ignore_entrypoints_get_a_command(
    toleration: dict[str, str],
    split: bool,
    admit: Callable[..., Any],
    make_pod: Callable[..., Any],
    make_settings: Callable[..., Any],
) -> None:
    settings = make_settings(
        {"IGNORE_ENTRYPOINT_TOLERATIONS": '[{"effect": "NoSchedule", "key": "virtual"}]'}
    )
    pod = make_pod(tolerations=[{"key": "other"}, toleration])
    sidecar = admit(pod, settings=settings).sidecar

    assert sidecar.get("command") == (["/daprd"] if split else None)
    assert sidecar["args"][:1] == (["--dapr-http-port"] if split else ["/daprd"])


def test_a_sidecar_that_installs_certificates_on_windows_may_do_so(
    admit: Callable[..., Any], make_pod: Callable[..., Any], make_settings: Callable[..., Any]
) -> None:
    settings = make_settings({"SIDECAR_RUN_AS_USER": "7", "SIDECAR_RUN_AS_GROUP": "7"})
    for wish in ({"env": "SSL_CERT_DIR=C:\\"}, {"env-from-secret": "SSL_CERT_DIR=s:k"}):
        assert admit(make_pod(wish), settings=settings).sidecar["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": False,
            "readOnlyRootFilesystem": False,
            "windowsOptions": {"runAsUserName": "ContainerAdministrator"},
        }


def test_the_token_for_sentry_is_bound_to_the_control_planes_identity(
    admit: Callable[..., Any], make_pod: Callable[..., Any], make_settings: Callable[..., Any]
) -> None:
    settings = make_settings(
        {
            "NAMESPACE": "plane",
            "DAPR_CONTROL_PLANE_TRUST_DOMAIN": "td.example",
            "KUBE_CLUSTER_DOMAIN": "corp.local",
        }
    )
    admitted = admit(make_pod(), settings=settings, namespace="shop")
    (volume,) = admitted.pod["spec"]["volumes"]
    (source,) = volume["projected"]["sources"]

    assert source["serviceAccountToken"]["audience"] == "spiffe://td.example/ns/plane/dapr-sentry"
    assert {one["name"]: one.get("value") for one in admitted.sidecar["env"]} == {
        "NAMESPACE": "shop",
        "DAPR_TRUST_ANCHORS": "PEM",
        "POD_NAME": None,
        "DAPR_CONTROLPLANE_NAMESPACE": "plane",
        "DAPR_CONTROLPLANE_TRUST_DOMAIN": "td.example",
    }
    assert "--sentry-address dapr-sentry.plane.svc.corp.local:443" in flags_of(admitted.sidecar)


@pytest.mark.parametrize(
    ("annotations", "warnings"),
    [
        ({"app-port": "3500"}, ["dapr.io/app-port is 3500, as the sidecar's HTTP port is"]),
        ({"app-port": "9090"}, ["dapr.io/app-port is 9090, as dapr.io/metrics-port is"]),
        ({"app-port": "9090", "enable-metrics": "false"}, []),
        ({"grpc-port": "3501"}, ["dapr.io/grpc-port is 3501, as the sidecar's public port is"]),
        ({"app-port": "0", "metrics-port": "0", "grpc-port": "0"}, []),
    ],
)
def test_ports_that_two_programs_would_listen_on_are_told(
    annotations: dict[str, str],
    warnings: list[str],
    admit: Callable[..., Any],
    make_pod: Callable[..., Any],
) -> None:
    expected = [f"{warning}: they must differ" for warning in warnings]
    assert admit(make_pod(annotations)).warnings == expected


def test_a_debugger_that_the_image_has_not_is_told(
    admit: Callable[..., Any], make_pod: Callable[..., Any]
) -> None:
    (warning,) = admit(make_pod({"enable-debug": "true"})).warnings
    assert "starts /dlv in the image" in warning
