"""Which path of the app an event goes to: CEL rules in order, then the default."""

from __future__ import annotations

from collections.abc import Sequence

from dapr_common.kube.resources import Rule
from dapr_common.match_expressions import Event, compile_match


class Routes:
    """The compiled rules of one subscription."""

    __slots__ = ("_rules", "default")

    def __init__(self, rules: Sequence[Rule], default: str | None) -> None:
        """``default=None``: an event no rule takes has no route. Raises ``RuleError``."""
        self._rules = [(compile_match(rule.match), rule.path) for rule in rules]
        self.default = default

    def find(self, event: Event) -> str | None:
        """The path for an event, ``None`` when there is none. Raises ``RouteError``."""
        for matches, path in self._rules:
            if matches is None or matches(event):
                return path
        return self.default
