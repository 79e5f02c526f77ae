"""What a program answers on its standard output, where that is not its log."""

from __future__ import annotations

import os
import sys


def show(text: str) -> None:
    """Print a command's answer; a reader that has seen enough (``| head``) is no error."""
    try:
        print(text, flush=True)  # noqa: T201 - this is where programs print
    except BrokenPipeError:
        # What the buffer still has would be the same error again at the program's end.
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
