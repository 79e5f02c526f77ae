"""What bindings of object stores share: how requests say what they want."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import orjson

from dapr_common.durations import parse_go_duration
from dapr_common.words import is_truthy

_ANSWER_BYTES = 64 << 20
_CONCURRENCY = 10
_MOST_AT_ONCE = 64
_LONGEST_SHARE = 7 * 24 * 3600
_TRACE = frozenset({"traceparent", "tracestate", "baggage"})
T = TypeVar("T")


def unquoted(data: bytes) -> bytes:
    """A JSON string is stored as its text; anything else as it is."""
    if data[:1] == b'"' and data[-1:] == b'"':
        try:
            text = orjson.loads(data)
        except ValueError:
            return data
        if isinstance(text, str):
            return text.encode()
    return data


def from_base64(data: bytes) -> bytes:
    """Raises ``ValueError`` for what is no base64."""
    try:
        return base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"decodeBase64 is set, and the data is no base64: {error}") from None


async def as_base64(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same in base64."""
    rest = b""
    async for part in parts:
        whole = rest + part
        end = len(whole) - len(whole) % 3
        rest = whole[end:]
        yield base64.b64encode(whole[:end])
    yield base64.b64encode(rest)


# --- a request's metadata -----------------------------------------------------------------------


def needed(metadata: Mapping[str, str], name: str) -> str:
    """Raises ``ValueError`` when it is not there, or empty."""
    if not (value := metadata.get(name, "")):
        raise ValueError(f"required metadata not set: {name}")
    return value


def flag(metadata: Mapping[str, str], name: str, default: bool) -> bool:
    """The request's word, or else the component's."""
    given = metadata.get(name)
    return default if given is None else is_truthy(given)


def share_seconds(text: str, name: str) -> int:
    """How long a signed URL is good. Raises ``ValueError``."""
    try:
        seconds = int(parse_go_duration(text).total_seconds())
    except ValueError as error:
        raise ValueError(f"invalid value of '{name}': {error}") from None
    if not 1 <= seconds <= _LONGEST_SHARE:
        raise ValueError(f"invalid value of '{name}': '{text}': expected 1s to 168h (seven days)")
    return seconds


def header(name: str, value: str) -> str:
    """A value that can be a header's. Raises ``ValueError`` for any other."""
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"invalid value of '{name}': expected printable ASCII characters only")
    return value.strip()


def custom(metadata: Mapping[str, str], known: frozenset[str]) -> Iterator[tuple[str, str]]:
    """What the binding does not know, and what the sidecar did not add by itself."""
    for name, value in metadata.items():
        if name not in known and name not in _TRACE:
            yield name, value


# --- a request's data ---------------------------------------------------------------------------


class Arguments:
    """The JSON object that ``list`` and the bulk operations take as data.

    Every method raises ``ValueError`` with the field's name for a value of another kind.
    """

    def __init__(self, words: Mapping[str, Any], shown: str = "data") -> None:
        self._words = words
        self.shown = shown

    @classmethod
    def read(cls, data: bytes) -> Arguments:
        """No data is an object without fields."""
        try:
            found = orjson.loads(data.strip() or b"{}")
        except orjson.JSONDecodeError as error:
            raise ValueError(f"invalid data: expected a JSON object: {error}") from None
        if found is None:
            found = {}
        if not isinstance(found, dict):
            raise ValueError("invalid data: expected a JSON object")
        return cls(found)

    def text(self, name: str) -> str:
        found = self._words.get(name)
        if found is None:
            return ""
        if not isinstance(found, str):
            raise self._wrong(name, "a text")
        return found

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from one; more than ``most`` is ``most``, as the services take it."""
        found = self._words.get(name)
        if found is None:
            return default
        if not isinstance(found, int) or isinstance(found, bool) or found < 0:
            raise self._wrong(name, "a whole number")
        return min(found, most) or default

    def concurrency(self) -> int:
        if (found := self._words.get("concurrency")) in (0, None):
            return _CONCURRENCY
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise self._wrong("concurrency", "a whole number greater than 0")
        return min(found, _MOST_AT_ONCE)

    def is_set(self, name: str) -> bool:
        found = self._words.get(name)
        if not isinstance(found, (bool, type(None))):
            raise self._wrong(name, "true or false")
        return bool(found)

    def inner(self, name: str) -> Arguments:
        found = self._words.get(name)
        if not isinstance(found, (dict, type(None))):
            raise self._wrong(name, "an object")
        return Arguments(found or {}, f"{self.shown}.{name}")

    def texts(self, name: str) -> list[str]:
        found = self._words.get(name)
        if found is None:
            return []
        if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
            raise self._wrong(name, "a list of names")
        return found

    def items(self, name: str, key: str) -> list[Arguments]:
        """A list of objects, each with a text at ``key``."""
        found = self._words.get(name)
        if found is None:
            return []
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self._wrong(name, "a list of objects")
        made = [Arguments(one, f"{self.shown}.{name}[{at}]") for at, one in enumerate(found)]
        for one in made:
            if not one.text(key):
                raise ValueError(f"missing field '{one.shown}.{key}'")
        return made

    def has(self, name: str) -> bool:
        return self._words.get(name) is not None

    def content(self) -> bytes:
        """An item's inline ``data``: the text, or the JSON of what is none."""
        found = self._words.get("data")
        return found.encode() if isinstance(found, str) else orjson.dumps(found)

    def _wrong(self, name: str, expected: str) -> ValueError:
        return ValueError(f"invalid value of '{self.shown}.{name}': expected {expected}")


# --- many at once -------------------------------------------------------------------------------


async def in_parallel(
    items: Sequence[T], concurrency: int, work: Callable[[T], Awaitable[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """The results in the order of the items. Raises what the first one that failed raised."""
    results: list[dict[str, Any]] = [{} for _ in items]
    waiting = iter(enumerate(items))

    async def worker() -> None:
        for at, item in waiting:
            results[at] = await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(items))):
                group.create_task(worker())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    return results


class Budget:
    """What the parts of one answer may be together."""

    def __init__(self, size: int = _ANSWER_BYTES) -> None:
        self._size = size
        self._left = size

    async def whole(self, parts: AsyncIterator[bytes]) -> bytes:
        """What comes, held. Raises ``ValueError`` when it is too much."""
        found: list[bytes] = []
        taken = 0
        try:
            async for part in parts:
                found.append(part)
                taken += len(part)
                self._left -= len(part)
                if self._left < 0:
                    raise ValueError(
                        f"the answer would be larger than {self._size >> 20} MiB: "
                        "ask for less at once, or have it written to a file"
                    )
        except BaseException:
            self._left += taken  # nothing of it is kept
            raise
        return b"".join(found)
