"""systemd's unit and environment files, as far as those of this repository use their syntax."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGING = Path(__file__).resolve().parents[2] / "packaging" / "systemd"
UNITS = ("dapr-sentry.service", "dapr-placement.service", "daprd@.service")
_ENTRY = re.compile(r'^(\w+)=(?:"([^"]*)"|(.*))$', re.MULTILINE)
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Unit:
    """What stands in one file: section → key → values in their order."""

    sections: Mapping[str, Mapping[str, list[str]]]

    def all(self, section: str, key: str) -> list[str]:
        return self.sections[section].get(key, [])

    def one(self, key: str) -> str:
        """The only value of a key of ``[Service]``."""
        (value,) = self.all("Service", key)
        return value

    def command(self, environment: Mapping[str, str], specifiers: Mapping[str, str]) -> list[str]:
        """The words of ``ExecStart`` as systemd starts them. Raises ``KeyError`` for an unknown."""
        return [
            _VARIABLE.sub(
                lambda match: environment[match[1]],
                re.sub(r"%(\w)", lambda match: specifiers[match[1]], word),
            )
            for word in shlex.split(self.one("ExecStart"))
        ]


def read_unit(path: Path) -> Unit:
    """Read one. Raises ``ValueError`` for a line that is none of systemd's."""
    sections: dict[str, dict[str, list[str]]] = {}
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if not line or line.startswith(("#", ";")):
            continue
        if line.startswith("[") and line.endswith("]"):
            section = sections.setdefault(line[1:-1], {})
            continue
        key, separator, value = line.partition("=")
        if not separator or not key.isalnum():
            raise ValueError(f"{path.name}: {line!r}: expected Key=value")
        section.setdefault(key, []).append(value.strip())
    return Unit(sections)


def read_environment(path: Path) -> dict[str, str]:
    """The variables of an ``EnvironmentFile``; a value in double quotes may have several lines."""
    return {
        name: quoted or plain
        for name, quoted, plain in _ENTRY.findall(path.read_text(encoding="utf-8"))
    }


def read_sysctl(path: Path) -> dict[str, str]:
    """The kernel's settings in a file of ``sysctl.d``."""
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name.strip(): value.strip() for name, _, value in pairs}
