"""Words: those that mean yes or no by Dapr's rules, and those for what a value is."""

from __future__ import annotations

from collections.abc import Mapping

TRUE_WORDS = frozenset({"y", "yes", "true", "t", "on", "1"})
FALSE_WORDS = frozenset({"n", "no", "false", "f", "off", "0"})


def is_truthy(text: str) -> bool:
    """Dapr's reading of a boolean word: any other word is false."""
    return text.strip().lower() in TRUE_WORDS


def kind_of(value: object) -> str:
    """What a value is, in words for messages."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, bool):
        return "true or false"
    for kinds, name in ((list, "a list"), (str, "a text"), ((int, float), "a number")):
        if isinstance(value, kinds):
            return name
    return "nothing" if value is None else "something else"
