"""Which ways a binding is used: what its class can, narrowed by ``direction``."""

from __future__ import annotations

from collections.abc import Mapping

from dapr_sidecar.components.base import Component
from dapr_sidecar.components.bindings.base import InputBinding, OutputBinding

_BASES: Mapping[str, type] = {"input": InputBinding, "output": OutputBinding}


def directions(kind: type[Component], properties: Mapping[str, str]) -> frozenset[str]:
    """``input``, ``output`` or both. Raises ``ValueError`` for a way the class cannot go."""
    can = {name for name, base in _BASES.items() if issubclass(kind, base)}
    text = properties.get("direction", "")
    wanted = {word.strip().lower() for word in text.split(",") if word.strip()} or can
    if not (chosen := can & wanted):
        raise ValueError(
            f"direction '{text}' is not possible: it can be {' and '.join(sorted(can))}"
        )
    return frozenset(chosen)
