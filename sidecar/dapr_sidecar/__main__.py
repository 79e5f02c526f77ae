"""``daprd``: parse the flags, set the logs up, run one sidecar, exit with what it says."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from dapr_common import RUNTIME_VERSION
from dapr_common.flags import FlagError
from dapr_common.observe import last_words, logs
from dapr_common.output import show
from dapr_sidecar import options
from dapr_sidecar.options import Command, Options


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        chosen = options.from_process(arguments)
    except FlagError as error:
        return _refuse(error)
    if isinstance(chosen, Command):
        return _command(chosen)
    return _run(chosen)


def _refuse(error: FlagError) -> int:
    if error.status == 2:
        print(f"{error}\nSee daprd --help.", file=sys.stderr)  # noqa: T201 - no logs yet
        last_words.leave(str(error))
    else:
        logs.setup("info", as_json=False, app_id="")
        logs.get_logger("dapr.runtime").critical("%s", error)
    return error.status


def _command(command: Command) -> int:
    if command.name == "help":
        show(options.help_text())
    elif command.name == "version":
        show(RUNTIME_VERSION)
    elif command.name == "build-info":
        show(f"Version: {RUNTIME_VERSION}\nGit Commit: n/a\nGit Version: n/a")
    else:
        from dapr_sidecar.runtime.wait import wait_for_outbound

        return asyncio.run(wait_for_outbound(command.http_port))
    return 0


def _run(chosen: Options) -> int:
    try:
        logs.setup(
            chosen.log_level,
            as_json=chosen.log_as_json,
            app_id=chosen.app_id,
            file=chosen.log_file or None,
        )
    except OSError as error:
        wrong = f"--log-file {chosen.log_file} cannot be written: {error.strerror}"
        return _refuse(options.OptionsError(wrong))
    from dapr_common.aio.run import run_loop
    from dapr_sidecar.runtime.runtime import Runtime

    logger = logs.get_logger("dapr.runtime")
    logger.info("Starting Dapr Runtime -- version %s -- commit n/a", RUNTIME_VERSION)
    logger.info("Log level set to: %s", chosen.log_level)
    for notice in chosen.notices:
        logger.warning("%s", notice)
    return run_loop(Runtime(chosen, os.environ).run())


if __name__ == "__main__":
    sys.exit(main())
