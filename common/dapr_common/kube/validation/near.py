"""Words that are probably meant to be another one."""

from __future__ import annotations

from collections.abc import Iterable

_SHORT = 6


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that somebody meant who wrote this one; empty when none is near enough.

    Two letters may be wrong, in a short word one: "smtp" is not a misspelt "http".
    """
    wanted = word.lower()
    best, least = "", 3
    for candidate in known:
        distance = edits(wanted, candidate.lower())
        if distance < least and distance <= _allowed(wanted, candidate):
            best, least = candidate, distance
    return best


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message: ``, did you mean "redisHost"?``, or nothing."""
    found = nearest(word, known)
    return f', did you mean "{found}"?' if found else ""


def edits(one: str, other: str) -> int:
    """How many letters to put in, leave out, replace or swap with their neighbour."""
    if abs(len(one) - len(other)) > 2:
        return 3  # more than anybody asks for
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row, above = row, [i], before
        for j, b in enumerate(other, 1):
            cost = min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _allowed(word: str, candidate: str) -> int:
    """By the part that tells types apart, which is behind the last dot."""
    shortest = min(len(text.rpartition(".")[2]) for text in (word, candidate))
    return 1 if shortest < _SHORT else 2
