"""What an image takes from ``pyproject.toml``; only the standard library is needed.

``python3 image_parts.py requirements sidecar components`` prints the packages of extras,
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
    what, *names = sys.argv[1:]
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    if what == "requirements":
        print("\n".join(requirements(project, *names)))
    elif what == "script":
        print(script(project, *names), end="")
    else:
        print(f"unknown: {what}", file=sys.stderr)
        return 2
    return 0


def requirements(project: dict[str, Any], *extras: str) -> list[str]:
    """What the product needs, and what these extras add."""
    return [*project["dependencies"], *(each for extra in extras for each in _of(project, extra))]


def _of(project: dict[str, Any], extra: str) -> list[str]:
    """The packages of one extra; one that names extras of the project stands for theirs."""
    own = project["name"] + "["
    found: list[str] = []
    for each in project["optional-dependencies"][extra]:
        if each.startswith(own):
            for name in each.removeprefix(own).rstrip("]").split(","):
                found += _of(project, name)
        else:
            found.append(each)
    return found


def script(project: dict[str, Any], command: str, python: str) -> str:
    """A console script as an installer writes it."""
    module, _, function = project["scripts"][command].partition(":")
    return _SCRIPT.format(python=python, module=module, function=function)


if __name__ == "__main__":
    sys.exit(main())
