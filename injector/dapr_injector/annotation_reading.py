"""Reading a pod's annotations, and what its creator is told about doubtful ones."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from typing import Any

from dapr_injector.annotations import PREFIX, TABLE, Annotations

_ELSEWHERE: Mapping[str, str] = {
    "component-container": "has no effect on a pod: it belongs to a Component",
    "control-plane": "belongs to Dapr's own pods, sentry refuses others that have it",
}
_LONGEST_SHOWN = 60

Warn = Callable[[str], None]


def read(values: Mapping[str, str], warn: Warn) -> Annotations:
    """A pod's annotations. What cannot be used is left out, and said."""
    found: dict[str, Any] = {}
    for key, text in values.items():
        if not key.startswith(PREFIX) or (entry := TABLE.get(key.removeprefix(PREFIX))) is None:
            continue
        attribute, declared = entry
        try:
            found[attribute] = declared.kind.read(text)
        except ValueError:
            warn(f"{key} is {shown(text)}, ignored: expected {declared.kind.expected}")
            continue
        if not declared.kind.accepts(text):
            kind = declared.kind
            warn(f"{key} is {shown(text)}, {kind.consequence}: expected {kind.expected}")
        if declared.replaced_by:
            warn(f"{key} is deprecated, use {PREFIX}{declared.replaced_by}")
    return Annotations(**found)


def warn_of_strangers(values: Mapping[str, str], warn: Warn) -> None:
    """Say which annotations are none of Dapr's, or not for pods."""
    for key in values:
        name = key.removeprefix(PREFIX)
        if name == key or name in TABLE:
            continue
        if name in _ELSEWHERE:
            warn(f"{key} {_ELSEWHERE[name]}")
            continue
        near = difflib.get_close_matches(name.lower()[:_LONGEST_SHOWN], TABLE, 1, 0.75)
        hint = f", did you mean {PREFIX}{near[0]}?" if near else ""
        warn(f"unknown annotation {PREFIX}{name[:_LONGEST_SHOWN]}{hint}")


def shown(text: str) -> str:
    """A value as warnings quote it: one short line whatever it holds."""
    cut = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
    return json.dumps(cut)
