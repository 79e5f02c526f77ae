"""Calls one method of actors: type, ids with commas between them, method, JSON to send.

Prints what one of them answers, or the list of what several do.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from actors_types import proxy


async def main(actor_type: str, ids: str, method: str, *data: str) -> Any:
    arguments = [json.loads(one) for one in data]
    names = ids.split(",")
    answers = [await getattr(proxy(actor_type, one), method)(*arguments) for one in names]
    return answers if len(names) > 1 else answers[0]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:]))) + "\n")
