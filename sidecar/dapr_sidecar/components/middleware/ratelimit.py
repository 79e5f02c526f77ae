"""``middleware.http.ratelimit``: so many requests a second from each client address."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import ip_address

from dapr_common.http.messages import Handler, Request, Response
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.middleware.answers import text_answer
from dapr_sidecar.components.middleware.base import HttpMiddleware

_MOST_CLIENTS = 20_000
_RETRY = (b"Retry-After", b"1")


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError("expected a number above 0")
    return rate


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitSettings:
    """Settings of the middleware."""

    rate: float = setting(
        "maxRequestsPerSecond",
        default=100.0,
        parse=_rate,
        help="requests a second from one client address, as many at once",
    )


class Buckets:
    """A token bucket for each client; the clients not seen for longest are forgotten first."""

    def __init__(self, rate: float, most_clients: int = _MOST_CLIENTS) -> None:
        self._rate = rate
        self._capacity = max(1.0, float(int(rate)))
        self._most = most_clients
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def take(self, client: str, now: float) -> bool:
        """Take a token, if there is one."""
        left, since = self._left.pop(client, (self._capacity, now))
        left = min(self._capacity, left + (now - since) * self._rate)
        taken = left >= 1.0
        self._left[client] = (left - 1.0 if taken else left, now)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return taken


class RateLimitMiddleware(HttpMiddleware):
    """What is over the limit is answered with 429. Each sidecar counts for itself.

    The client is the first address of ``X-Forwarded-For``, else ``X-Real-IP``, else the peer.
    """

    settings = RateLimitSettings

    def __init__(self, settings: RateLimitSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._buckets = Buckets(settings.rate)

    def wrap(self, following: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            if self._buckets.take(client_address(request), time.monotonic()):
                return await following(request)
            return text_answer(429, "You have reached maximum request limit.", [_RETRY])

        return handle


def client_address(request: Request) -> str:
    """Whose request it is; empty when nothing tells. What is no address is passed over."""
    forwarded = (request.header(b"x-forwarded-for") or b"").partition(b",")[0]
    for text in (forwarded, request.header(b"x-real-ip") or b""):
        try:
            return str(ip_address(text.strip().decode("latin-1")))
        except ValueError:
            continue
    return request.peer.rpartition(":")[0]
