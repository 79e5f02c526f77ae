"""The ``status`` of a resource, from what its sidecars say of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dapr_common.moments import rfc3339
from dapr_operator.kinds import COMPONENT, CONFIGURATION, DaprKind
from dapr_operator.report_book import FAILED, LOADED, Sidecar, State
from dapr_operator.resource import Resource

_READY = "Ready"
Status = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Counted:
    """Sidecars that should have a resource, by what became of it in them."""

    total: int = 0
    loaded: int = 0
    failed: int = 0
    worst: tuple[Sidecar, State] | None = None
    """The newest failure."""


def counted(kind: DaprKind, resource: Resource, sidecars: Iterable[Sidecar]) -> Counted:
    """Only a Configuration's own sidecars speak of it; other kinds are for all in scope."""
    total = loaded = failed = 0
    worst: tuple[Sidecar, State] | None = None
    name = (kind.word, resource.name)
    for sidecar in sidecars:
        state = sidecar.state(name)
        if not resource.is_for(sidecar.app_id) or (state is None and kind == CONFIGURATION):
            continue
        total += 1
        if state is None:
            continue
        loaded += state.state == LOADED
        if state.state == FAILED:
            failed += 1
            if worst is None or _moment(state) > _moment(worst[1]):
                worst = sidecar, state
    return Counted(total, loaded, failed, worst)


def status_of(
    kind: DaprKind,
    resource: Resource,
    found: Counted,
    missing: Sequence[str],
    before: Mapping[str, Any],
    now: datetime,
) -> Status | None:
    """What the status shall be; ``None`` when there is nothing to say and nothing was said."""
    if not found.total and not missing and not before:
        return None
    status: Status = {
        "conditions": _conditions(before, _condition(found, missing), resource.generation, now)
    }
    if kind == COMPONENT:
        status["loaded"] = f"{found.loaded}/{found.total}"
        status["sidecars"] = {
            "total": found.total,
            "loaded": found.loaded,
            "failed": found.failed,
        }
        status["lastError"] = _last_error(found, before, now)
    return status


def is_new(before: Mapping[str, Any], status: Status) -> bool:
    """Whether a status says something else than the one that is there."""
    return any(before.get(name) != part for name, part in status.items())


def _condition(found: Counted, missing: Sequence[str]) -> tuple[str, str, str]:
    """Status, reason and message of ``Ready``."""
    if missing:  # the cause, also of what sidecars say
        return "False", "SecretMissing", "; ".join(missing)
    if found.worst is not None:
        text = f"{found.failed} of {found.total} sidecars could not load it: "
        return "False", "LoadFailed", text + found.worst[1].message
    if not found.total:
        return "Unknown", "NoSidecars", "no sidecar that should load it is connected"
    if found.loaded < found.total:
        return "False", "Loading", f"{found.loaded} of {found.total} sidecars have loaded it"
    return "True", "Loaded", f"all of {found.total} sidecars have loaded it"


def _conditions(
    before: Mapping[str, Any], condition: tuple[str, str, str], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Conditions of others stay; the time stays while the status does."""
    status, reason, message = condition
    old: list[dict[str, Any]] = list(before.get("conditions") or ())
    ours = next((one for one in old if one.get("type") == _READY), {})
    ready = {
        "type": _READY,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": (
            ours["lastTransitionTime"] if ours.get("status") == status else _text(now)
        ),
    }
    return [*(one for one in old if one.get("type") != _READY), ready]


def _last_error(found: Counted, before: Mapping[str, Any], now: datetime) -> dict[str, Any] | None:
    if found.worst is None:
        return None
    sidecar, state = found.worst
    error = {"message": state.message, "sidecar": sidecar.pod}
    old = before.get("lastError") or {}
    if state.since is None and {**old, **error} == old:
        return dict(old)
    return {**error, "time": _text(state.since or now)}


def _moment(state: State) -> datetime:
    return state.since or datetime.min.replace(tzinfo=UTC)


def _text(moment: datetime) -> str:
    return rfc3339(moment)
