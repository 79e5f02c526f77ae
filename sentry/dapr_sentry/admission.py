"""A bound on the calls under way, so that a flood costs a bounded amount of memory."""

from __future__ import annotations

from dapr_common.errors import GrpcCode
from dapr_common.grpc.context import Context, Method
from dapr_common.grpc.errors import RpcError

_MARK = "admitted"


class Admission:
    """The ``before`` and ``after`` of a gRPC server: refuses calls beyond ``limit``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = 0

    def before(self, context: Context, method: Method | None) -> None:
        """Raises ``RpcError`` as soon as the headers are there: no body is read."""
        if self._open >= self._limit:
            raise RpcError(GrpcCode.UNAVAILABLE, "too many requests are under way: try again")
        self._open += 1
        context.scratch[_MARK] = True

    def after(
        self, context: Context, code: GrpcCode, elapsed_ms: float, received: int, sent: int
    ) -> None:
        """A call ended."""
        if context.scratch.pop(_MARK, False):
            self._open -= 1
