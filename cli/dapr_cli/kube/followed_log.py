"""The log of a container in one stream after the other: each goes on where the last one broke."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from dapr_cli.kube.pod_log import pod_log
from dapr_common.kube.login import Login
from dapr_common.moments import rfc3339

_LONGEST_PIECE_BYTES = 64 << 10
_NANO_DIGITS = 9
_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Piece:
    """Of a line, with its end if it has one; a very long line comes in several."""

    text: bytes
    nanoseconds: int = 0
    """When the line was written, since 1970; 0 where nobody asked for times."""
    begins: bool = True
    """Whether the line begins with it."""


class FollowedLog:
    """A line is given once, also after the stream was begun anew."""

    def __init__(
        self, login: Login, namespace: str, pod: str, container: str, *, last: int = 0
    ) -> None:
        """The first stream begins with the ``last`` lines, with all of them when that is 0."""
        self._login = login
        self._namespace = namespace
        self._pod = pod
        self._container = container
        self._last_lines = last
        self._seen = 0

    async def stream(self) -> AsyncGenerator[Piece, None]:
        """What one stream has that is new, until it ends. Raises ``KubeError``."""
        chunks = pod_log(
            self._login,
            self._namespace,
            self._pod,
            self._container,
            lines=0 if self._seen else self._last_lines,
            follow=True,
            since=rfc3339(self._seen // _SECOND) if self._seen else "",
        )
        is_new = False
        async with aclosing(pieces(chunks)) as found:
            async for piece in found:
                text = piece.text
                if piece.begins:
                    stamp, _, text = text.partition(b" ")
                    is_new = self._is_new(stamp)
                if is_new:
                    yield Piece(text, self._seen, piece.begins)

    def _is_new(self, stamp: bytes) -> bool:
        # The kubelet's own words have no time; they come again with every stream.
        moment = _nanoseconds(stamp)
        is_new = moment > self._seen
        self._seen = max(moment, self._seen)
        return is_new


async def pieces(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[Piece, None]:
    """Lines with their ends; what is left of the last one gets an end."""
    rest, begins = b"", True
    async with aclosing(chunks):
        async for chunk in chunks:
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield Piece(line + b"\n", begins=begins)
                begins = True
            if len(rest) > _LONGEST_PIECE_BYTES:
                yield Piece(rest, begins=begins)
                rest, begins = b"", False
    if rest:
        yield Piece(rest + b"\n", begins=begins)


def _nanoseconds(stamp: bytes) -> int:
    """Since 1970; 0 for what is no time."""
    try:
        when = datetime.fromisoformat(stamp.decode())
    except ValueError:
        return 0
    if when.tzinfo is None:
        return 0
    fraction = stamp.partition(b".")[2][:_NANO_DIGITS].decode()
    digits = "".join(one for one in fraction if one.isdigit())
    seconds = int((when.replace(microsecond=0) - _EPOCH).total_seconds())
    return seconds * _SECOND + int(digits.ljust(_NANO_DIGITS, "0"))
