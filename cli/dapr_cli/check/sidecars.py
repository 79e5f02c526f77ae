"""The running sidecars of this machine: whether they serve, with which components."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dapr_cli.check.findings import Finding, Severity
from dapr_cli.instances import Instance
from dapr_cli.sidecar_client import Answer, SidecarError
from dapr_common import RUNTIME_VERSION

_AREA = "sidecars"
_AT_ONCE = 16
_HEALTH_SECONDS = 15.0  # every component is asked meanwhile


def check_sidecars(running: Sequence[Instance]) -> list[Finding]:
    """What each says of itself, in the order given."""
    if not running:
        return []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [one for found in pool.map(_sidecar, running) for one in found]


def _sidecar(instance: Instance) -> list[Finding]:
    subject = f"{instance.app_id} (pid {instance.daprd_pid})"
    try:
        health = instance.client.look("/v1.0/healthz?all=true", _HEALTH_SECONDS)
        metadata = instance.client.look("/v1.0/metadata?health=true")
    except SidecarError as error:
        text = f"does not answer at its HTTP port: {error}"
        fix = f"Wait if it has just been started; else dapr stop {instance.app_id}, and see its log"
        return [Finding("error", _AREA, subject, text, _log(fix, instance))]
    if metadata.status == 401:
        fix = "Set DAPR_API_TOKEN to the token that this sidecar was started with."
        return [Finding("warning", _AREA, subject, "does not tell: it wants a token", fix)]
    body = _json(metadata)
    found = [*_components(subject, body), *_version(subject, body)]
    if not health.ok and not any(one.severity == "error" for one in found):
        found.append(_unhealthy(subject, health, instance))
    return found


def _components(subject: str, metadata: dict[str, Any]) -> Iterator[Finding]:
    for one in metadata.get("componentHealth") or ():
        state = str(one.get("state"))
        if state == "ready":
            continue
        error = one.get("lastError") or "no error is known"
        text = f"component {one.get('name')} is {state} since {one.get('since')}: {error}"
        fix = (
            "Start the server it uses, or correct the component's file; the sidecar tries again."
            if state == "failing"
            else "It is still being set up: look again in a moment."
        )
        severity: Severity = "warning" if state == "pending" else "error"
        yield Finding(severity, _AREA, subject, text, fix)


def _version(subject: str, metadata: dict[str, Any]) -> Iterator[Finding]:
    version = metadata.get("runtimeVersion") or RUNTIME_VERSION
    if version != RUNTIME_VERSION:
        text = f"is of version {version}, this CLI brings {RUNTIME_VERSION}"
        yield Finding("warning", _AREA, subject, text, "Stop it and start it again.")


def _unhealthy(subject: str, health: Answer, instance: Instance) -> Finding:
    said = str(_json(health).get("message") or health.status_line)
    where = "Wait if it has just been started; else see its log"
    if "placement" in said:
        where = (
            "Is the placement service running that it was told of? Start it, or start the app with "
            "--placement-host-address '' when there are no actors"
        )
    elif instance.app_port:
        where = f"Is the app listening on port {instance.app_port}? Start it, or correct --app-port"
    return Finding("error", _AREA, subject, f"is not healthy: {said}", _log(where, instance))


def _log(text: str, instance: Instance) -> str:
    return f"{text} ({instance.daprd_log_path})." if instance.daprd_log_path else f"{text}."


def _json(answer: Answer) -> dict[str, Any]:
    try:
        body = json.loads(answer.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
