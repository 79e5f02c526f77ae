"""``dapr-operator``: parse the flags, set the logs up, run until told to stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from dapr_common.program import Program
from dapr_operator import settings
from dapr_operator.flag_table import FLAGS
from dapr_operator.runtime import run

_PROGRAM = Program(
    name="dapr-operator",
    summary="gives sidecars their resources and keeps what surrounds them in order",
    scope="dapr.operator",
    flags=FLAGS,
    read=lambda parsed: settings.read(parsed, os.environ),
    root=run,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    return _PROGRAM.main(sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
