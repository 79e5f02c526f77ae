"""The program ``pip``, with what it says passed on while it works."""

from __future__ import annotations

import collections
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence

from dapr_cli.errors import CliError

_LAST_LINES = 20
_ERROR = "ERROR: "


def run(
    command: Sequence[str],
    *,
    seconds: float,
    heard: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run it to its end; ``heard`` gets every line. Raises ``CliError`` with what it said."""
    last: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
    try:
        process = subprocess.Popen(  # noqa: S603 - this Python's pip
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=None if environment is None else dict(environment),
        )
    except OSError as error:
        raise CliError(f"{command[0]} cannot be started: {error.strerror}") from error
    deadline = threading.Timer(seconds, process.kill)
    deadline.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            last.append(line.rstrip())
            heard(line.rstrip())
        code = process.wait()
    finally:
        late = not deadline.is_alive()
        deadline.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()
    if late:
        raise CliError(f"pip has not ended after {seconds:g} s and was killed")
    if code:
        raise CliError(f"pip ended with exit code {code}: {_reason(list(last))}")


def without_settings() -> dict[str, str]:
    """An environment in which pip knows no index, no other wheels and no other packages."""
    strangers = ("PIP_", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(strangers)}


def _reason(lines: list[str]) -> str:
    errors = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
    return "; ".join(errors) or "\n".join(lines[-5:])
