"""Ports that the set-up needs and another program has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dapr_cli.check.findings import Finding
from dapr_cli.daprd_command import PLACEMENT_PORT, SCHEDULER_PORT, SENTRY_PORT
from dapr_cli.instances import Instance
from dapr_cli.port_holders import holder
from dapr_cli.ports import is_free
from dapr_cli.settings import RunSettings

_AREA = "ports"
_RUN_FLAGS = (
    ("daprHTTPPort", "http_port"),
    ("daprGRPCPort", "grpc_port"),
    ("daprInternalGRPCPort", "internal_grpc_port"),
    ("metricsPort", "metrics_port"),
    ("profilePort", "profile_port"),
)
# What else than Dapr's own service would be a stranger there.
_SERVICES = {
    PLACEMENT_PORT: (
        "placement",
        "Actors need it: stop that program, or name another one with --placement-host-address.",
    ),
    SCHEDULER_PORT: (
        "scheduler",
        "Sidecars wait for it: stop that program, or run apps with --scheduler-host-address ''.",
    ),
    SENTRY_PORT: ("sentry", "Mutual TLS needs this port: stop that program."),
}


def check_services(*, mtls: bool) -> Iterator[Finding]:
    """The fixed ports of placement, the scheduler and, with mutual TLS, sentry."""
    for port, (service, fix) in _SERVICES.items():
        if (port == SENTRY_PORT and not mtls) or is_free(port):
            continue
        who = holder(port)
        if who and service not in who:
            text = f"the port of {service} is used by {who}"
            yield Finding("error", _AREA, str(port), text, fix)


def check_wanted(ports: Iterable[int], running: Sequence[Instance]) -> Iterator[Finding]:
    """Ports that the user is about to use."""
    for port in ports:
        if not is_free(port):
            yield _taken(str(port), port, running)


def check_run_file(apps: Sequence[RunSettings], running: Sequence[Instance]) -> Iterator[Finding]:
    """Ports that a run file gives its sidecars: taken, or given twice."""
    given: dict[int, str] = {}
    for app in apps:
        own = {one.app_id for one in running}
        for key, field in _RUN_FLAGS:
            port = getattr(app, field)
            subject = f"{app.app_id} {key} {port}"
            if port <= 0:
                continue
            if port in given:
                text = f"{given[port]} has the same port"
                yield Finding("error", _AREA, subject, text, "Give one of them another port.")
            elif app.app_id not in own and not is_free(port):
                yield _taken(subject, port, running)
            given.setdefault(port, f"{key} of {app.app_id}")


def _taken(subject: str, port: int, running: Sequence[Instance]) -> Finding:
    for one in running:
        if port in one.ports:
            text = f"is used by the sidecar of {one.app_id} (pid {one.daprd_pid})"
            fix = f"Stop it (dapr stop {one.app_id}), or choose another port."
            return Finding("error", _AREA, subject, text, fix)
    who = holder(port) or "a program of another user"
    return Finding(
        "error", _AREA, subject, f"is used by {who}", "Stop that program, or choose another port."
    )
