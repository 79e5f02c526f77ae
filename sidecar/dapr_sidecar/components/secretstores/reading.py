"""What stores of one secret a request have in common: reading all, and JSON as their values."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

_AT_ONCE = 8

Read = Callable[[str], Awaitable[dict[str, str]]]


async def read_all(names: Iterable[str], read: Read) -> dict[str, dict[str, str]]:
    """Every secret by its name, a few at once.

    What went between the listing and the reading (``LookupError``) is left out. Any other failure
    ends it all: an answer with a hole would look complete. Its text says which secret it was.
    """
    wanted = iter(dict.fromkeys(names))
    found: dict[str, dict[str, str]] = {}

    async def work() -> None:
        for name in wanted:
            try:
                found[name] = await read(name)
            except LookupError:
                continue
            except Exception as error:
                raise RuntimeError(f"secret {name}: {error}") from error

    workers = [asyncio.ensure_future(work()) for _ in range(_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return dict(sorted(found.items()))


def as_texts(values: Mapping[str, object]) -> dict[str, str]:
    """A JSON object's members as a secret's values; what is no text is its JSON text."""
    return {name: as_text(value) for name, value in values.items()}


def as_text(value: object) -> str:
    """A text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object of an answer; empty when it is none. All digits of its numbers are kept."""
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
