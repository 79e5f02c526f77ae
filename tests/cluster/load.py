"""An application that never rests, and what became of its requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cluster.applications import Space
from cluster.waiting import Until


@dataclass
class Load:
    """Filled when it is over."""

    space: Space
    target: str
    became: dict[str, Any] = field(default_factory=dict)

    def assert_nothing_failed(self, until: Until, receiver: str = "") -> None:
        """Not a request failed, and nothing that was acknowledged is lost."""
        told = {name: value for name, value in self.became.items() if name != "published"}
        print(told)
        assert self.became["failed"] == 0, told
        assert self.became["acknowledged"] > 200, told
        self.assert_nothing_lost(until, receiver)

    def assert_nothing_lost(self, until: Until, receiver: str = "") -> None:
        """Whatever was saved is there, whatever was published has come."""
        assert self.became["lost"] == []
        published = set(self.became["published"])
        assert published

        def missing() -> set[object]:
            return published - set(self.space.received(receiver or self.target))

        until(lambda: not missing(), 30, "every published event comes")


@contextmanager
def under_load(space: Space, source: str, target: str, *, beside: bool = False) -> Iterator[Load]:
    """``source`` invokes ``target``, saves, reads and publishes, all the time.

    ``beside``: see ``Space.script``.
    """
    load = Load(space, target)
    with space.script(source, "load.py", target, beside=beside) as script:
        script.next(90)  # it has begun
        yield load
        load.became = script.last()
