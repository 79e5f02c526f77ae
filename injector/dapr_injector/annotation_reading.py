"""Reading a pod's annotations, and what its creator is told about doubtful ones."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from typing import Any

from dapr_injector.annotations import PREFIX, TABLE, Annotations

_CONTROL_PLANE = "control-plane"
_ELSEWHERE: Mapping[str, str] = {
    "component-container": "has no effect on a pod: it belongs to a Component",
    _CONTROL_PLANE: "belongs to Dapr's own pods, sentry refuses others that have it",
}
_LONGEST_SHOWN = 60
_MOST_STRANGERS = 10
_SIMILAR = 0.75

Warn = Callable[[str], None]


def read(values: Mapping[str, str], warn: Warn) -> Annotations:
    """A pod's annotations. What cannot be used is left out, and said."""
    found: dict[str, Any] = {}
    for key, text in values.items():
        if not key.startswith(PREFIX) or (entry := TABLE.get(key.removeprefix(PREFIX))) is None:
            continue
        attribute, declared = entry
        kind = declared.kind
        if declared.replaced_by:
            warn(f"{key} is deprecated, use {PREFIX}{declared.replaced_by}")
        try:
            found[attribute] = kind.read(text)
        except ValueError:
            warn(f"{key} is {shown(text)}, ignored: expected {kind.expected}")
            continue
        if not kind.accepts(text):
            warn(f"{key} is {shown(text)}, {kind.consequence}: expected {kind.expected}")
    return Annotations(**found)


def warn_of_strangers(values: Mapping[str, str], warn: Warn, *, is_ours: bool = False) -> None:
    """Say which annotations are none of Dapr's, or not for pods.

    ``is_ours``: the pod is in the control plane's namespace, where one more may be.
    """
    names = [key.removeprefix(PREFIX) for key in values if key.startswith(PREFIX)]
    known = {*TABLE, _CONTROL_PLANE} if is_ours else TABLE.keys()
    strangers = [name for name in names if name not in known]
    for name in strangers[:_MOST_STRANGERS]:
        warn(_describe(name))
    if (more := len(strangers) - _MOST_STRANGERS) > 0:
        warn(f"{more} more {PREFIX} annotations are unknown")


def _describe(name: str) -> str:
    if name in _ELSEWHERE:
        return f"{PREFIX}{name} {_ELSEWHERE[name]}"
    name = name[:_LONGEST_SHOWN]
    near = difflib.get_close_matches(name.lower(), TABLE, 1, _SIMILAR)
    hint = f", did you mean {PREFIX}{near[0]}?" if near else ""
    return f"unknown annotation {PREFIX}{name}{hint}"


def shown(text: str) -> str:
    """A value as warnings quote it: one short line whatever it holds."""
    cut = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
    return json.dumps(cut)
