"""Read a Dockerfile: the part of the language that the files of this project use, and no more.

What is not understood is an error: an image built without a container engine must be the one that
an engine would build.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_UNDERSTOOD = frozenset({"COPY", "RUN", "ENV", "WORKDIR", "USER", "ENTRYPOINT", "CMD"})


class DockerfileError(ValueError):
    """A line cannot be understood; the text says which."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its variables replaced."""

    name: str
    text: str

    def copied(self) -> tuple[str, list[str], str]:
        """``COPY``: the stage (empty: the checkout), the sources and the target."""
        words = self.text.split()
        stage = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else ""
        if len(words) < 2 or words[0].startswith("--"):
            raise DockerfileError(f"COPY {self.text}: expected sources and a target")
        return stage, words[:-1], words[-1]

    def pairs(self) -> dict[str, str]:
        """``ENV``: the variables."""
        found = dict(word.partition("=")[::2] for word in self.text.split())
        if not all(found.values()):
            raise DockerfileError(f"ENV {self.text}: expected NAME=value")
        return found

    def words(self) -> list[str]:
        """``ENTRYPOINT`` and ``CMD``: the JSON list."""
        try:
            found = json.loads(self.text)
        except ValueError as error:
            raise DockerfileError(f"{self.name} {self.text}: expected a JSON list") from error
        return [str(word) for word in found]


@dataclass(slots=True)
class Stage:
    """From one ``FROM`` to the next."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)


def parse(path: Path, arguments: Mapping[str, str] | None = None) -> list[Stage]:
    """The stages of a file; the last is the image. Raises ``DockerfileError``."""
    variables: dict[str, str] = {}
    stages: list[Stage] = []
    for line in _lines(path.read_text(encoding="utf-8")):
        name, _, text = line.partition(" ")
        text = text.strip()
        if name == "ARG" and not stages:
            key, _, default = text.partition("=")
            variables[key] = (arguments or {}).get(key, default)
        elif name == "FROM":
            stages.append(_stage(_replaced(text, variables)))
        elif name in _UNDERSTOOD and stages:
            stages[-1].instructions.append(Instruction(name, _replaced(text, variables)))
        else:
            raise DockerfileError(f"{path}: not understood: {line}")
    if not stages:
        raise DockerfileError(f"{path}: no FROM")
    return stages


def _lines(text: str) -> list[str]:
    """Instructions, each on one line, without comments."""
    kept = (line.strip() for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = "\n".join(kept).replace("\\\n", " ")
    return [re.sub(r"\s+", " ", line) for line in joined.splitlines() if line]


def _stage(text: str) -> Stage:
    base, *rest = text.split()
    if rest and rest[0] != "AS":
        raise DockerfileError(f"FROM {text}: expected AS")
    return Stage(rest[1] if rest else "", base)


def _replaced(text: str, variables: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        # What is no argument of the file is the shell's, or the image's environment.
        return variables.get(found[1], found[0])

    return _VARIABLE.sub(value, text)
