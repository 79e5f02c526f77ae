"""App ids for those who did not give one."""

from __future__ import annotations

import random
from collections.abc import Collection

_FIRST = """
amber bold brisk bright calm clever copper crisp eager early fair fleet fresh gentle golden
grand green happy hardy honest humble jolly keen kind lively lucky merry mild noble patient
proud quick quiet rapid ready silver steady sunny swift tidy warm wise
""".split()  # noqa: SIM905 - easier to read and to extend
_SECOND = """
alder badger beacon birch brook canyon cedar comet coral crane delta ember falcon fern finch
forest garnet harbor hazel heron island juniper lagoon lark maple meadow meteor otter pebble
pine plover prairie quartz raven reef river sparrow spruce summit tern valley willow
""".split()  # noqa: SIM905 - easier to read and to extend


def random_app_id(taken: Collection[str]) -> str:
    """Two words that no running sidecar is called."""
    while True:
        name = f"{random.choice(_FIRST)}-{random.choice(_SECOND)}"  # noqa: S311 - no secret
        if name not in taken:
            return name
        if len(taken) >= len(_FIRST) * len(_SECOND):
            return f"{name}-{len(taken)}"
