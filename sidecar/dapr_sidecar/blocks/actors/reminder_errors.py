"""Why a change to a reminder was not stored."""

from __future__ import annotations


class TooManyChangesError(Exception):
    """More changes wait for the store than are held."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} changes to reminders of this type wait for the store")


class NotStoredError(Exception):
    """A change did not get through in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"not stored within {seconds:g} s: the store is slow, or other sidecars always wrote "
            "first"
        )


class StoppedError(Exception):
    """The sidecar stopped first."""

    def __init__(self) -> None:
        super().__init__("the sidecar stops, and whether it was stored is not known")
