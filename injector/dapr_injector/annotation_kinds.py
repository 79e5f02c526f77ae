"""Kinds of annotation values: how a text is read, and which texts deserve a warning.

Dapr never refuses a pod for a value it cannot read: it goes on with the default. The pod's creator
hears about it here.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from dapr_common.durations import parse_go_duration
from dapr_common.words import FALSE_WORDS, TRUE_WORDS, is_truthy

_INTEGER = re.compile(r"[+-]?[0-9]{1,10}")
_QUANTITY = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,3})?"
)
_MOST_PORT = 65535
_ENDPOINTS = ("config", "subscribe")


def is_boolean(text: str) -> bool:
    """Whether a text means true or false to a reader, too."""
    return text.strip().lower() in {"", *TRUE_WORDS, *FALSE_WORDS}


def is_quantity(text: str) -> bool:
    """Whether Kubernetes takes a text as an amount of CPU or memory."""
    return _QUANTITY.fullmatch(text) is not None


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """One kind. ``read`` raises ``ValueError`` for a text that cannot be used.

    A text that can be used but is not ``accepted`` has its ``consequence``.
    """

    name: str
    expected: str
    read: Callable[[str], Any]
    accepts: Callable[[str], bool] = lambda text: True
    consequence: str = "passed on as it is"


@dataclasses.dataclass(frozen=True, slots=True)
class Annotation:
    """One annotation: its name after ``dapr.io/``, kind, default and meaning."""

    name: str
    kind: Kind
    default: Any
    help: str
    replaced_by: str = ""
    """For deprecated ones: what to use instead."""


def annotation(
    name: str,
    kind: Kind,
    default: Any,
    help: str,  # noqa: A002 - the word users of dataclass fields and argparse expect
    replaced_by: str = "",
) -> Any:
    """Declare one field of the record of annotations. A default of ``None`` is "not given"."""
    declared = Annotation(name, kind, default, help, replaced_by)
    return dataclasses.field(default=default, metadata={"annotation": declared})


def _read_integer(text: str) -> int:
    """Kubernetes' own fields hold 32 bits."""
    if not _INTEGER.fullmatch(text) or not -(1 << 31) <= (number := int(text)) < 1 << 31:
        raise ValueError(text)
    return number


def _is_port(text: str) -> bool:
    return 0 <= int(text) <= _MOST_PORT


def _is_duration(text: str) -> bool:
    try:
        parse_go_duration(text)
    except ValueError:
        return False
    return True


def _is_positive_duration(text: str) -> bool:
    return _is_duration(text) and parse_go_duration(text).total_seconds() > 0


def _are_endpoints(text: str) -> bool:
    return all(part in _ENDPOINTS for part in text.split(",") if part)


def _is_quantity_or_empty(text: str) -> bool:
    return not text or is_quantity(text)


def choice(*words: str) -> Kind:
    """A text that is one of several words."""
    return Kind(
        "string",
        f"one of {', '.join(words)}",
        str,
        lambda text: text.lower() in words,
    )


TEXT = Kind("string", "a text", str)
INTEGER = Kind("int", "a whole number", _read_integer)
PORT = Kind("int", "a port, 1 to 65535", _read_integer, _is_port)
BOOLEAN = Kind("bool", "true or false", is_truthy, is_boolean, "read as false")
DURATION = Kind("string", "a duration such as 5s or 1m30s", str, _is_duration)
POSITIVE_DURATION = Kind("string", "a duration above 0 such as 30s", str, _is_positive_duration)
ENDPOINTS = Kind("string", "some of config, subscribe", str, _are_endpoints)
SIZE = Kind("string", "a quantity such as 4Mi", str, _is_quantity_or_empty)
RESOURCE = Kind(
    "string",
    "a quantity such as 100m or 250Mi",
    str,
    _is_quantity_or_empty,
    "the sidecar gets no resources at all",
)
