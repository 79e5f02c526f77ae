"""Changes that wait to be sent: at most one for each object, however many there were. Pure."""

from __future__ import annotations

from dapr_common.kube.informer import Change, Key
from dapr_operator.resource import Resource


class PendingChanges:
    """What receivers know is the ``before`` of the change that waits for them."""

    def __init__(self) -> None:
        self._changes: dict[Key, Change[Resource]] = {}

    def __len__(self) -> int:
        return len(self._changes)

    def __contains__(self, key: Key) -> bool:
        return key in self._changes

    def add(self, change: Change[Resource]) -> None:
        """A change later than all that were added."""
        earlier = self._changes.pop(change.key, None)
        if earlier is not None:
            change = Change(change.key, earlier.before, change.after)
        if change.before != change.after:
            self._changes[change.key] = change

    def take(self) -> Change[Resource]:
        """The one that waits for the longest."""
        return self._changes.pop(next(iter(self._changes)))
