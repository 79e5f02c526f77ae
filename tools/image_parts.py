"""What an image takes from ``pyproject.toml``; only the standard library is needed.

``python3 image_parts.py requirements sentry`` prints the packages of an extra,
``python3 image_parts.py script dapr-sentry PYTHON`` the program that starts one of the commands.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

_SCRIPT = """\
#!{python}
import sys

from {module} import {function}

sys.exit({function}())
"""


def main() -> int:
    """Print what is asked for."""
    what, name, *rest = sys.argv[1:]
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    if what == "requirements":
        print("\n".join(requirements(project, name)))
    elif what == "script":
        print(script(project, name, *rest), end="")
    else:
        print(f"unknown: {what}", file=sys.stderr)
        return 2
    return 0


def requirements(project: dict[str, Any], extra: str) -> list[str]:
    """What the product needs, and what an extra adds."""
    return [*project["dependencies"], *project["optional-dependencies"][extra]]


def script(project: dict[str, Any], command: str, python: str) -> str:
    """A console script as an installer writes it."""
    module, _, function = project["scripts"][command].partition(":")
    return _SCRIPT.format(python=python, module=module, function=function)


if __name__ == "__main__":
    sys.exit(main())
