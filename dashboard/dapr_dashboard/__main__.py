"""``dapr-dashboard``: parse the flags, set the logs up, run until told to stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from dapr_common import RUNTIME_VERSION
from dapr_common.output import show
from dapr_common.program import Program
from dapr_dashboard import settings
from dapr_dashboard.runtime import run

_VERSION = frozenset({"-v", "--version", "-version"})
_PROGRAM = Program(
    name="dapr-dashboard",
    summary="the applications of this machine or of a cluster, as pages",
    scope="dapr.dashboard",
    flags=settings.FLAGS,
    read=lambda parsed: settings.read(parsed, os.environ),
    root=run,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not _VERSION.isdisjoint(arguments):
        show(RUNTIME_VERSION)
        return 0
    return _PROGRAM.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
