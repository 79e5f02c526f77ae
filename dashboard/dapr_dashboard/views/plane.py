"""Actors and the control plane."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from dapr_dashboard.markup import Html, badge, code, table, tag
from dapr_dashboard.model import App, CertificateFact, ControlPlane
from dapr_dashboard.views.page import Shell, app_link, problem, since, state

_SOON = timedelta(days=30)


def actors(shell: Shell, apps: Sequence[App]) -> Html:
    """Which types live where, and whether each host is connected to placement."""
    hosts = []
    types: dict[str, list[tuple[App, int]]] = {}
    for app in apps:
        runtime = app.live.metadata.get("actorRuntime") or {}
        if not runtime:
            continue
        status = str(runtime.get("runtimeStatus") or "")
        active = runtime.get("activeActors") or ()
        if status == "DISABLED" and not active:
            continue
        placement = str(runtime.get("placement") or "")
        ready = bool(runtime.get("hostReady"))
        hosts.append(
            (
                app_link(app),
                code(app.name),
                badge("good" if ready else "warn", "ready" if ready else "not ready"),
                badge("good" if placement.endswith(": connected") else "bad", placement),
                sum(int(one.get("count") or 0) for one in active),
            )
        )
        for one in active:
            types.setdefault(str(one.get("type")), []).append((app, int(one.get("count") or 0)))
    rows = [
        (name, [[app_link(app), f": {number} "] for app, number in users], sum(n for _, n in users))
        for name, users in sorted(types.items())
    ]
    return shell.page(
        "Actors",
        table("Hosts", ("App", "Instance", "Host", "Placement", "Active actors"), hosts),
        table("Types", ("Type", "Active on each host", "Active"), rows),
    )


def control_plane(shell: Shell, plane: ControlPlane) -> Html:
    """Services and certificates."""
    services = [
        (
            one.name,
            code(one.place),
            state(one.health, one.state),
            one.version,
            since(one.created, shell.now),
        )
        for one in plane.services
    ]
    certificates = [
        (one.name, code(one.source), f"{one.ends:%Y-%m-%d %H:%M} UTC", _left(one, shell.now))
        for one in sorted(plane.certificates, key=lambda one: one.ends)
    ]
    return shell.page(
        "Control plane",
        *(problem(text) for text in plane.problems),
        table("Services", ("Service", "Where", "State", "Version", "Age"), services),
        table("Certificates", ("Certificate", "Where", "Ends", "Left"), certificates),
        tag("p", "Of certificates only the public part is read.", class_="none"),
    )


def _left(one: CertificateFact, now: datetime) -> Html:
    left = one.ends - now
    if left <= timedelta(0):
        return badge("bad", "has expired")
    shown = f"{left.days} days" if left.days else f"{int(left.total_seconds() // 3600)} hours"
    return badge("warn" if left < _SOON else "good", shown)
