"""``dapr-injector``: parse the flags, set the logs up, run until told to stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from dapr_common.flags import Parsed
from dapr_common.program import Program, refuse_root
from dapr_injector import settings
from dapr_injector.runtime import run


def _read(parsed: Parsed) -> settings.Settings:
    refuse_root("injector", os.environ)
    return settings.read(parsed, os.environ)


_PROGRAM = Program(
    name="dapr-injector",
    summary="the admission webhook that gives pods their sidecars",
    scope="dapr.injector",
    flags=settings.FLAGS,
    read=_read,
    root=run,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    return _PROGRAM.main(sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
