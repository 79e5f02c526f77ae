"""Status lines: a sign, two blanks and the text, or one JSON object a line."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import IO, Any

import click

from dapr_common.moments import rfc3339

_SIGNS = {"success": "✅", "failure": "❌", "warning": "⚠", "pending": "⌛", "info": "ℹ️"}  # noqa: RUF001 - the sign Dapr prints
_COLORS = {"success": "green", "failure": "red", "warning": "yellow"}


class Console:
    """Writes what a command has to say; failures and warnings go to the error output."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    def success(self, text: str) -> None:
        """Something was done."""
        self._say("success", text)

    def failure(self, text: str) -> None:
        """Something could not be done."""
        self._say("failure", text)

    def warning(self, text: str) -> None:
        """Something went on, but not as one may think."""
        self._say("warning", text)

    def pending(self, text: str) -> None:
        """Something has begun."""
        self._say("pending", text)

    def info(self, text: str) -> None:
        """Something to know."""
        self._say("info", text)

    def hint(self, text: str) -> None:
        """What to do about a failure."""
        self._say("info", text, error=True)

    def report(self, message: str, hint: str = "") -> None:
        """A failure and, where it is known, what to do about it."""
        self.failure(message)
        if hint:
            self.hint(hint)

    def _say(self, status: str, text: str, *, error: bool = False) -> None:
        error = error or status in ("failure", "warning")
        try:
            self._write(status, text, error)
        except OSError:
            mute(sys.stderr if error else sys.stdout)

    def _write(self, status: str, text: str, error: bool) -> None:
        if self.as_json:
            time = rfc3339(datetime.now(UTC))
            record = {"time": time, "status": status, "msg": text}
            click.echo(json.dumps(record, ensure_ascii=False, separators=(",", ":")), err=error)
            return
        sign = "" if sys.platform == "win32" else f"{_SIGNS[status]}  "
        color = _COLORS.get(status)
        click.echo(click.style(sign + text, fg=color) if color else sign + text, err=error)


def mute(stream: IO[Any]) -> None:
    """Send a stream nowhere: its terminal or reader is gone, what we do goes on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
