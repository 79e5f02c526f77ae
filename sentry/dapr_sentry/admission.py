"""A bound on the calls under way, so that a flood costs a bounded amount of memory."""

from __future__ import annotations

from collections import Counter

from dapr_common.errors import GrpcCode
from dapr_common.grpc.context import Context, Method
from dapr_common.grpc.errors import RpcError

_MARK = "admitted"


class Admission:
    """The ``before`` and ``after`` of a gRPC server: refuses calls beyond the limits.

    ``limit`` bounds all calls, ``limit_of_a_host`` those from one address: one host cannot keep
    all others out.
    """

    def __init__(self, limit: int, limit_of_a_host: int) -> None:
        self._limit = limit
        self._limit_of_a_host = limit_of_a_host
        self._open: Counter[str] = Counter()
        self._all = 0

    def before(self, context: Context, method: Method | None) -> None:
        """Raises ``RpcError`` as soon as the headers are there: no body is read."""
        host = context.peer.rpartition(":")[0]
        if self._all >= self._limit or self._open[host] >= self._limit_of_a_host:
            raise RpcError(GrpcCode.UNAVAILABLE, "too many requests are under way: try again")
        self._all += 1
        self._open[host] += 1
        context.scratch[_MARK] = host

    def after(
        self, context: Context, code: GrpcCode, elapsed_ms: float, received: int, sent: int
    ) -> None:
        """A call ended."""
        host = context.scratch.pop(_MARK, None)
        if isinstance(host, str):
            self._all -= 1
            self._open[host] -= 1
            if not self._open[host]:
                del self._open[host]
