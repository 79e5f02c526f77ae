"""Header names: Go's canonical spelling, hop-by-hop removal, checks against splitting."""

from __future__ import annotations

from collections.abc import Iterable

from dapr_common.http.messages import Header

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
        b"te",
        b"trailer",
        b"proxy-authorization",
        b"proxy-authenticate",
    }
)
_CACHE: dict[bytes, bytes] = {}
_CACHE_LIMIT, _LONGEST_KEPT = 2048, 128


def canonical(name: bytes) -> bytes:
    """``content-type`` → ``Content-Type``, as Go's HTTP library writes names."""
    found = _CACHE.get(name)
    if found is None:
        found = b"-".join(part[:1].upper() + part[1:].lower() for part in name.split(b"-"))
        if len(_CACHE) < _CACHE_LIMIT and len(name) <= _LONGEST_KEPT:
            _CACHE[name] = found
    return found


def without_hop_by_hop(headers: Iterable[Header]) -> list[Header]:
    """Headers that may travel on; those named inside ``Connection`` go too. Lower-case names."""
    kept: list[Header] = []
    named: set[bytes] | None = None
    for pair in headers:
        if pair[0] in HOP_BY_HOP:
            if pair[0] == b"connection":
                named = named or set()
                named.update(token.strip().lower() for token in pair[1].split(b","))
            continue
        kept.append(pair)
    if named:
        return [pair for pair in kept if pair[0] not in named]
    return kept


def safe_value(value: bytes) -> bytes:
    """A value that cannot start a new header line."""
    return value.replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\0", b" ")
