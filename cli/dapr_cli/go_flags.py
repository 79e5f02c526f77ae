"""Flags as the official CLI takes them, put into words that click takes.

``--flag=true`` and ``--flag=false`` of switches, and ``-f=value``, which click reads as ``=value``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import click

_TRUE = frozenset({"true", "t", "1", "TRUE", "True", "T"})
_FALSE = frozenset({"false", "f", "0", "FALSE", "False", "F"})


@dataclass(frozen=True, slots=True)
class FlagNames:
    """The flags of a command. ``truths`` may have a value, which is true where there is none."""

    switches: frozenset[str]
    valued: frozenset[str]
    truths: frozenset[str] = frozenset()


def plain(
    words: Iterable[str], names: FlagNames, *, strict: bool, only_first: bool = False
) -> list[str]:
    """The same for click. Raises ``click.UsageError``, unless a shell only asks what may follow.

    ``only_first``: what follows the first word that is no flag has flags of its own.
    """
    found: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--" or (only_first and not word.startswith("-")):
            return [*found, word, *rest]
        parts, wants_value = _parts(word, names, strict=strict)
        found += parts
        found += islice(rest, 1 if wants_value else 0)  # whatever it looks like
    return found


def _parts(word: str, names: FlagNames, *, strict: bool) -> tuple[Sequence[str], bool]:
    """What stands for a word, and whether the next one is its value."""
    name, equals, value = word.partition("=")
    if name in names.truths and not equals:
        return [f"{name}=true"], False
    if name in names.switches and equals:
        if strict and value not in _TRUE | _FALSE:
            raise click.UsageError(f"invalid argument '{value}' for {name}: use true or false")
        return [name] if value in _TRUE else [], False
    if word.startswith("--"):
        return [word], not equals and name in names.valued
    return _short(word, names)


def _short(word: str, names: FlagNames) -> tuple[Sequence[str], bool]:
    """Letters behind one dash, such as ``-ka=orders``: the last may have a value."""
    if word.startswith("-"):
        for end, letter in enumerate(word[1:], start=2):
            if f"-{letter}" in names.valued:
                if word[end : end + 1] == "=":
                    return [word[:end], word[end + 1 :]], False
                return [word], end == len(word)
            if f"-{letter}" not in names.switches:
                break
    return [word], False
