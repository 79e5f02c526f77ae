"""Documents of anybody, read without trust in their shape. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_MOST_ENTRIES = 2000


def mapping(value: Any) -> Mapping[str, Any]:
    """An object; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def entries(value: Any) -> Sequence[Any]:
    """A list, of a very long one the beginning; an empty one for anything else."""
    return value[:_MOST_ENTRIES] if isinstance(value, list | tuple) else ()


def objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list."""
    return [each for each in entries(value) if isinstance(each, Mapping)]


def texts(value: Any) -> list[str]:
    """The texts and numbers of a list."""
    return [str(each) for each in entries(value) if isinstance(each, str | int | float)]
