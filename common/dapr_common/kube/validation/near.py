"""Words that are probably meant to be another one."""

from __future__ import annotations

from collections.abc import Iterable

_SHORT = 6
_FAR = 3  # edits: more than anybody asks for
_MOST_LETTERS = 30_000


class Hints:
    """Finds what was meant, for one object. Whoever writes thousands of wrong words is told less.

    Each look costs time, in which nobody else is answered; an object may ask for thousands among
    thousands.
    """

    def __init__(self) -> None:
        self._letters_left = _MOST_LETTERS

    def nearest(self, word: str, known: Iterable[str]) -> str:
        """``nearest``; empty, too, when enough was compared for this object."""
        if self._letters_left <= 0:
            return ""
        similar = [one for one in known if abs(len(one) - len(word)) < _FAR]
        self._letters_left -= len(word) * len(similar)
        return nearest(word, similar) if self._letters_left > 0 else ""

    def did_you_mean(self, word: str, known: Iterable[str]) -> str:
        """The end of a message: ``, did you mean "redisHost"?``, or nothing."""
        found = self.nearest(word, known)
        return f', did you mean "{found}"?' if found else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that somebody meant who wrote this one; empty when none is near enough.

    Two letters may be wrong, in a short word one: "smtp" is not a misspelt "http".
    """
    wanted = word.lower()
    best, least = "", _FAR
    for candidate in known:
        distance = edits(wanted, candidate.lower())
        if distance < least and distance <= _allowed(wanted, candidate):
            best, least = candidate, distance
    return best


def edits(one: str, other: str) -> int:
    """How many letters to put in, leave out, replace or swap with their neighbour; 3 is "many"."""
    if abs(len(one) - len(other)) >= _FAR:
        return _FAR
    before: list[int] = []
    row = [min(j, _FAR) for j in range(len(other) + 1)]
    for i, a in enumerate(one, 1):
        above, before, row = before, row, [_FAR] * len(row)
        row[0] = min(i, _FAR)
        first, end = max(1, i - 2), min(len(other), i + 2) + 1  # further aside it is far anyway
        for j in range(first, end):
            b = other[j - 1]
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b), _FAR)
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, above[j - 2] + 1)
            row[j] = cost
        if min(row[first - 1 : end]) == _FAR:
            return _FAR
    return row[-1]


def _allowed(word: str, candidate: str) -> int:
    """By the part that tells types apart, which is behind the last dot."""
    shortest = min(len(text.rpartition(".")[2]) for text in (word, candidate))
    return 1 if shortest < _SHORT else 2
