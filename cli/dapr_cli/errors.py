"""What a command says when it cannot do what it was asked."""

from __future__ import annotations


class CliError(Exception):
    """Ends the command with exit code 1; ``hint`` says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def reason(error: OSError) -> str:
    """What the system says, as people read it: ``daprd: Permission denied``."""
    text = error.strerror or str(error)
    return f"{error.filename}: {text}" if error.filename else text
