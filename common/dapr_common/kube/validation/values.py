"""Values of metadata and of durations, by the rules the sidecar reads them with."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from dapr_common.durations import parse_go_duration, parse_quantity
from dapr_common.kube.validation.catalogue import Field
from dapr_common.words import FALSE_WORDS, TRUE_WORDS

_TEMPLATE = re.compile(r"\{(uuid|podName|namespace|appID)\}")


def value_problem(field: Field, text: str) -> str:
    """What is wrong with a value; empty when nothing is."""
    if not text.strip() or _TEMPLATE.search(text):
        return ""
    if field.type == "choice":
        words = {word.lower() for word in field.allowed}
        return "" if text.strip().lower() in words else f"expected {' or '.join(field.allowed)}"
    check = _CHECKS.get(field.type)
    return "" if check is None else check(text.strip())


def duration_problem(text: str, *, positive: bool = False) -> str:
    """What is wrong with a Go duration; empty when nothing is."""
    try:
        found = parse_go_duration(text.strip())
    except ValueError as error:
        return str(error)
    if positive and found.total_seconds() <= 0:
        return f'"{text}" must be more than 0'
    return ""


def url_problem(text: str) -> str:
    """What is wrong with an http or https URL; empty when nothing is."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        return f'"{text}" is no URL: {error}'
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return f'"{text}" is no URL: expected http:// or https:// and a host'
    return ""


def _boolean(text: str) -> str:
    return "" if text.lower() in TRUE_WORDS | FALSE_WORDS else "expected true or false"


def _integer(text: str) -> str:
    try:
        int(text)
    except ValueError:
        return "expected a whole number"
    return ""


def _number(text: str) -> str:
    try:
        return "" if math.isfinite(float(text)) else "expected a number"
    except ValueError:
        return "expected a number"


def _duration(text: str) -> str:
    return "" if not _number(text) else duration_problem(text)


def _size(text: str) -> str:
    try:
        parse_quantity(text)
    except ValueError as error:
        return str(error)
    return ""


_CHECKS: Mapping[str, Callable[[str], str]] = {
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "duration": _duration,
    "size": _size,
}
