"""Method names as Dapr normalises them before access control and the app see them."""

from __future__ import annotations

from dapr_common.errors import GrpcCode
from dapr_common.go_quoting import go_quoted
from dapr_common.grpc.errors import RpcError

_FORBIDDEN = frozenset([*map(chr, range(0x20)), "#", "?", "\x7f"])


def normalise(method: str) -> str:
    """Clean a method lexically; a leading slash stays. Raises ``RpcError`` (invalid argument)."""
    if not _FORBIDDEN.isdisjoint(method):
        raise RpcError(
            GrpcCode.INVALID_ARGUMENT,
            f"invalid method: method contains forbidden character: {go_quoted(method)}",
        )
    if "//" not in method and "." not in method and method[-1:] != "/":
        return method
    return clean(method)


def clean(method: str) -> str:
    """The method without empty segments, ``.`` and ``..``."""
    kept: list[str] = []
    for segment in method.split("/"):
        if segment in ("", "."):
            continue
        if segment == "..":
            # What climbs above the start is dropped, so an app is never asked for "../x".
            if kept:
                kept.pop()
            continue
        kept.append(segment)
    text = "/".join(kept)
    return "/" + text if method[:1] == "/" else text
