"""What a change of an object is to one app: by the scopes before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from dapr_common.wire.dapr.proto.operator.v1.operator_pb2 import ResourceEventType

CREATED = ResourceEventType.CREATED
UPDATED = ResourceEventType.UPDATED
DELETED = ResourceEventType.DELETED


class Scoped(Protocol):
    """Something that is for some apps, or for all."""

    def is_for(self, app_id: str) -> bool: ...


S = TypeVar("S", bound=Scoped)


def event_type(before: Scoped | None, after: Scoped | None, app_id: str) -> ResourceEventType:
    """Which event an app gets; ``UNKNOWN`` is none. ``DELETED`` tells of ``before``."""
    had = before is not None and before.is_for(app_id)
    has = after is not None and after.is_for(app_id)
    if has:
        return UPDATED if had else CREATED
    return DELETED if had else ResourceEventType.UNKNOWN


def visible(resources: Sequence[S], app_id: str) -> list[S]:
    """Those an app may have."""
    return [resource for resource in resources if resource.is_for(app_id)]
