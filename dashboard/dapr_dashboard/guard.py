"""Who may ask: requests by a name that is ours, answers that no other page may use."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


class Guard:
    """A middleware. A site whose name is made to lead here (DNS rebinding) sends its own name.

    IP addresses are let through: nobody can make those lead elsewhere. ``names`` are host names
    that users give, beside ``localhost``.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = {"localhost", *(name.lower() for name in names if name)}

    def allows(self, host: str) -> bool:
        """Whether a ``Host`` header, with or without a port, is ours."""
        name = host.strip().lower()
        if name.startswith("["):
            name, bracket, port = name[1:].partition("]")
            if not bracket or (port and not _is_port(port)):
                return False
        elif ":" in name:
            name, _, port = name.partition(":")
            if not _is_port(f":{port}"):
                return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def middleware(self) -> Middleware:
        """For an application of aiohttp."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self.allows(request.headers.get("Host", "")):
                return web.Response(
                    status=421,
                    text="This host name is not the dashboard's: use localhost, or name it with "
                    "--allowed-hosts.\n",
                    headers=_HEADERS,
                )
            response = await handler(request)
            response.headers.update(_HEADERS)
            return response

        return guarded


def _is_port(text: str) -> bool:
    return text[:1] == ":" and text[1:].isascii() and text[1:].isdigit() and len(text) <= 6
