"""What is wrong with a component's file, and where in it."""

from __future__ import annotations

import traceback
from pathlib import Path


class PythonFileError(ValueError):
    """A file cannot be used; the text names it, the line and the class as far as they are known."""

    def __init__(self, path: Path, text: str, *, line: int | None = None, within: str = "") -> None:
        place = f"{path}" + (f", line {line}" if line else "") + (f", {within}" if within else "")
        super().__init__(f"{place}: {text}")


def line_of(error: BaseException, path: Path) -> int | None:
    """The line of the file where an error came up, or that called what failed."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    return lines[-1] if lines else None


def shown(error: BaseException) -> str:
    """An error as a user finds it in the file."""
    if isinstance(error, SyntaxError):
        source = (error.text or "").strip()
        return f"{type(error).__name__}: {error.msg}" + (f": {source}" if source else "")
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
