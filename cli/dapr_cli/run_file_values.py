"""Values of a run file: their types, and what is said of wrong ones."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from dapr_cli import plain_yaml
from dapr_cli.errors import CliError
from dapr_common.paths import home_expanded

_CONVERT: dict[type, Callable[[str], str | int | bool]] = {
    str: str,
    int: plain_yaml.to_int,
    bool: plain_yaml.to_bool,
}
_WORDS = {str: "text", int: "a whole number", bool: "true or false"}


class Values:
    """Reads values of one file, which ``source`` names; every method raises ``CliError``."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.warnings: list[str] = []

    def error(self, text: str) -> CliError:
        """An error that names the file."""
        return CliError(f"{self.source}: {text}")

    def mapping(self, value: object, where: str) -> Mapping[str, Any]:
        """A mapping; an empty one when there is none."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.error(f"{where} must be a mapping")
        return value

    def typed(self, value: object, kind: type, where: str) -> str | int | bool | None:
        """A text, whole number or truth value; ``None`` when there is none."""
        if value is None:
            return None
        try:
            if not isinstance(value, str):
                raise ValueError
            return _CONVERT[kind](value)
        except ValueError:
            raise self.error(f"{where} must be {_WORDS[kind]}") from None

    def texts(self, value: object, where: str, example: str = "") -> tuple[str, ...]:
        """A list of texts."""
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self.error(f"{where} must be a list{example and f' such as {example}'}")
        return tuple(str(self.typed(part, str, where)) for part in value)

    def text_map(self, value: object, where: str) -> dict[str, str]:
        """Names and their texts."""
        return {
            str(name): self.text(text, f"{where}: {name}")
            for name, text in self.mapping(value, where).items()
        }

    def one_of(self, value: object, choices: Sequence[str], where: str) -> None:
        """Refuse what is given and none of the choices."""
        if value is not None and value not in choices:
            raise self.error(f"{where} must be one of {', '.join(choices)}")

    def text(self, value: object, where: str) -> str:
        """A text; empty when there is none."""
        return str(self.typed(value, str, where) or "")

    def place(self, value: object, base: Path, where: str) -> Path:
        """A path made absolute; ``~`` is the home directory."""
        given = self.text(value, where)
        try:
            return Path(base, home_expanded(given)).resolve()
        except (OSError, ValueError) as error:
            raise self.error(f"{where} cannot be a path: {error}") from error

    def existing(self, value: object, base: Path, where: str) -> Path:
        """A path that is there, made absolute."""
        path = self.place(value, base, where)
        try:
            there = path.exists()
        except OSError as error:
            raise self.error(f"{where} cannot be a path: {error.strerror}") from error
        if not there:
            raise self.error(f"{where} {path} does not exist")
        return path

    def check_keys(self, values: Mapping[str, Any], known: Collection[str], where: str) -> None:
        """Add a warning for every key that nobody knows."""
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, 1)
                hint = f", did you mean '{near[0]}'?" if near else ""
                self.warnings.append(f"{self.source}: {where}unknown key '{key}'{hint}")
