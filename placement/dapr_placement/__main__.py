"""``dapr-placement``: parse the flags, set the logs up, run until told to stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from dapr_common.program import Program
from dapr_placement import settings
from dapr_placement.flag_table import FLAGS
from dapr_placement.runtime import run

_PROGRAM = Program(
    name="dapr-placement",
    summary="tells sidecars which of them host actors of which type",
    scope="dapr.placement",
    flags=FLAGS,
    read=lambda parsed: settings.read(parsed, os.environ),
    root=run,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    return _PROGRAM.main(sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
