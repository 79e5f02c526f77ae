"""Regular expressions as Go spells them, with Python's engine."""

from __future__ import annotations

import re

_NAMED = re.compile(r"\(\?<(?![=!])")


def compile_expression(text: str) -> re.Pattern[str]:
    """A pattern; groups may be named ``(?<name>)``, too. Raises ``re.error``."""
    try:
        return re.compile(_NAMED.sub("(?P<", text))
    except (RecursionError, OverflowError) as error:
        raise re.error(f"it is too large: {error}") from error
