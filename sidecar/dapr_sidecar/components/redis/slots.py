"""Which node of a Redis cluster has a key. Pure."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

SLOTS = 16384
Address = tuple[str, int]
_SCRIPTS = frozenset({"EVAL", "EVALSHA"})
_ANYWHERE = frozenset({"INFO", "PING", "SCRIPT"})


@dataclass(frozen=True, slots=True)
class Redirect:
    """An answer that names another node: for good, or (``ask``) for this command alone."""

    address: Address
    ask: bool


def slot_of(key: bytes | str | float) -> int:
    """The slot of a key; of what stands in its first braces when there is something."""
    data = key if isinstance(key, bytes) else str(key).encode()
    start = data.find(b"{")
    if start >= 0:
        end = data.find(b"}", start + 1)
        if end > start + 1:
            data = data[start + 1 : end]
    return binascii.crc_hqx(data, 0) % SLOTS


def key_of(command: Sequence[Any]) -> Any:
    """The first key of a command; ``None`` when any node can answer it."""
    name = str(command[0]).upper()
    if name in _SCRIPTS:
        return command[3] if int(command[2]) > 0 else None
    if name in _ANYWHERE or len(command) < 2:
        return None
    return command[1]


def read_slots(reply: Iterable[Any], asked: Address) -> list[Address | None]:
    """The master of every slot, from the answer of ``CLUSTER SLOTS``."""
    found: list[Address | None] = [None] * SLOTS
    for first, last, master, *_ in reply:
        host = master[0].decode() if master[0] else ""
        address = (host or asked[0], int(master[1]))
        for slot in range(int(first), int(last) + 1):
            found[slot] = address
    return found


def read_redirect(text: str, asked: Address) -> Redirect | None:
    """What ``MOVED 7 host:port`` or ``ASK 7 host:port`` says; ``None`` for another error."""
    words = text.split()
    if len(words) != 3 or words[0] not in ("MOVED", "ASK"):
        return None
    host, _, port = words[2].rpartition(":")
    return Redirect((host or asked[0], int(port)), words[0] == "ASK")
