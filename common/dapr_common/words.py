"""Words that mean yes or no in manifests, annotations and variables, by Dapr's rules."""

from __future__ import annotations

TRUE_WORDS = frozenset({"y", "yes", "true", "t", "on", "1"})
FALSE_WORDS = frozenset({"n", "no", "false", "f", "off", "0"})


def is_truthy(text: str) -> bool:
    """Dapr's reading of a boolean word: any other word is false."""
    return text.strip().lower() in TRUE_WORDS
