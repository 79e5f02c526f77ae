"""Configuration ``metrics.rules``: label values replaced by regular expressions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dapr_common.go_expressions import compile_expression
from dapr_common.observe.metrics import Rewrite
from dapr_sidecar.telemetry.base import MetricsError

_GROUP = re.compile(r"\$(?:\{(\w+)\}|(\w+)|(\$))", re.ASCII)


def rewriter(rules: Sequence[Mapping[str, Any]]) -> Rewrite | None:
    """What the rules do to (metric, label, value); ``None`` without rules.

    Raises ``MetricsError`` for an expression that is none.
    """
    table: dict[tuple[str, str], list[tuple[re.Pattern[str], str]]] = {}
    for rule in rules:
        name = str(rule.get("name", "")).replace("/", "_").replace(".", "_")
        name = name if name.startswith("dapr_") else f"dapr_{name}"
        for label in rule.get("labels") or []:
            table[name, str(label.get("name"))] = [
                _compiled(name, str(pattern), str(replacement))
                for replacement, pattern in (label.get("regex") or {}).items()
            ]
    if not table:
        return None

    def rewrite(metric: str, label: str, value: str) -> str:
        for pattern, replacement in table.get((metric, label), ()):
            value = pattern.sub(replacement, value)
        return value

    return rewrite


def _compiled(metric: str, expression: str, replacement: str) -> tuple[re.Pattern[str], str]:
    try:
        pattern = compile_expression(expression)
    except re.error as error:
        raise MetricsError(
            f'metrics.rules: {metric}: invalid regular expression "{expression}": {error}'
        ) from error
    return pattern, _template(pattern, replacement)


def _template(pattern: re.Pattern[str], replacement: str) -> str:
    """Go's ``$1`` and ``${name}`` as Python writes them; groups there are none of are empty."""

    def group(found: re.Match[str]) -> str:
        if found[3]:
            return "$"
        name = found[1] or found[2]
        known = int(name) <= pattern.groups if name.isdecimal() else name in pattern.groupindex
        return rf"\g<{name}>" if known else ""

    return _GROUP.sub(group, replacement.replace("\\", "\\\\"))
