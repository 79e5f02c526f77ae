"""Configuration ``metrics.rules``: label values replaced by regular expressions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dapr_common.observe.metrics import Rewrite

_GROUP = re.compile(r"\$(?:\{(\w+)\}|(\w+)|(\$))")


def rewriter(rules: Sequence[Mapping[str, Any]]) -> Rewrite | None:
    """What the rules do to (metric, label, value); ``None`` without rules.

    Raises ``ValueError`` for an expression that is none.
    """
    table: dict[tuple[str, str], list[tuple[re.Pattern[str], str]]] = {}
    for rule in rules:
        name = str(rule.get("name", "")).replace("/", "_").replace(".", "_")
        name = name if name.startswith("dapr_") else f"dapr_{name}"
        for label in rule.get("labels") or []:
            table[name, str(label.get("name"))] = [
                (_compiled(name, str(pattern)), _template(str(replacement)))
                for replacement, pattern in (label.get("regex") or {}).items()
            ]
    if not table:
        return None

    def rewrite(metric: str, label: str, value: str) -> str:
        for pattern, replacement in table.get((metric, label), ()):
            value = pattern.sub(replacement, value)
        return value

    return rewrite


def _compiled(metric: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f'metrics.rules: {metric}: invalid regular expression "{pattern}": {error}'
        ) from error


def _template(replacement: str) -> str:
    """Go's ``$1`` and ``${name}`` as Python writes them."""

    def group(found: re.Match[str]) -> str:
        return "$" if found[3] else rf"\g<{found[1] or found[2]}>"

    return _GROUP.sub(group, replacement.replace("\\", "\\\\"))
