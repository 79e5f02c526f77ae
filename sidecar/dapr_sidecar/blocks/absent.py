"""APIs of Dapr that this product does not have: who asks for one is told so.

Where nothing is set up for them, Dapr's own sidecar refuses with the same words.
"""

from __future__ import annotations

from dapr_common.errors import DaprError, GrpcCode
from dapr_sidecar.blocks.actors import errors as actor_errors


class AbsentApis:
    """What to say of workflows and conversation."""

    def __init__(self, *, has_placement: bool) -> None:
        self._has_placement = has_placement

    def workflow(self) -> DaprError:
        """Workflows are actors: without a placement service there are none in Dapr either."""
        return not_implemented() if self._has_placement else actor_errors.no_placement()

    def conversation(self, component: str) -> DaprError:
        """No component of this kind can be loaded."""
        return DaprError(
            "ERR_CONVERSATION_NOT_FOUND",
            f"failed finding conversation component {component}",
            http_status=400,
            grpc_code=GrpcCode.INVALID_ARGUMENT,
        )


def not_implemented() -> DaprError:
    """Dapr's word for an API that a build does not have."""
    return DaprError(
        "ERR_API_UNIMPLEMENTED",
        "this API is currently not implemented",
        http_status=501,
        grpc_code=GrpcCode.UNIMPLEMENTED,
    )
