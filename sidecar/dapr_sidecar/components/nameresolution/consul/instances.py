"""Addresses of the sidecars that a catalogue's answer names."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dapr_common.aio.host import join_host_port

_LOOKUP_SECONDS = 5.0


class Endpoint(NamedTuple):
    """A host, by address or by name, and the port of the sidecar's internal server."""

    host: str
    port: int


def endpoints(entries: Iterable[Mapping[str, Any]], app_id: str, port_key: str) -> list[Endpoint]:
    """The usable ones of the healthy entries. Raises ``LookupError`` when there is none."""
    found: list[Endpoint] = []
    problem = f"no healthy services found with AppID '{app_id}'"
    for entry in entries:
        service, node = entry.get("Service") or {}, entry.get("Node") or {}
        port = str((service.get("Meta") or {}).get(port_key, ""))
        host = service.get("Address") or node.get("Address") or ""
        if not port:
            problem = f"target service AppID '{app_id}' found but {port_key} missing from meta"
        elif not port.isdecimal() or not 0 < int(port) < 65536:
            problem = f"target service AppID '{app_id}' found but {port_key} is no port: '{port}'"
        else:
            found.append(Endpoint(host, int(port)))
    if not found:
        raise LookupError(problem)
    return found


async def addresses(found: Iterable[Endpoint]) -> list[str]:
    """``host:port`` of those that can be reached by their text.

    Raises ``LookupError`` when no host is an address or a name that resolves.
    """
    known = list(found)
    usable = await asyncio.gather(*(_is_usable(endpoint.host) for endpoint in known))
    good = [join_host_port(*end) for end, is_good in zip(known, usable, strict=True) if is_good]
    if not good:
        hosts = ", ".join(sorted({endpoint.host for endpoint in known}))
        raise LookupError(f"invalid ip address or unreachable hostname: {hosts}")
    return good


async def _is_usable(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return await _resolves(host)
    return True


async def _resolves(name: str) -> bool:
    if not name:
        return False
    try:
        async with asyncio.timeout(_LOOKUP_SECONDS):
            await asyncio.get_running_loop().getaddrinfo(name, None)
    except (OSError, TimeoutError, UnicodeError):
        return False
    return True
