"""Command-line flags with Dapr's spellings: ``--flag v``, ``--flag=v`` and ``-flag v``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from dapr_common.durations import parse_go_duration

Kind = Literal["string", "bool", "int", "uint", "duration", "stringSlice"]
Value = str | bool | int | timedelta | list[str] | None

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class FlagError(ValueError):
    """The command line is wrong; programs print it and exit with ``status``."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag. ``replaced_by`` marks a deprecated one, which is hidden from ``--help``."""

    name: str
    kind: Kind
    default: Value
    help: str
    hidden: bool = False
    replaced_by: str = ""
    short: str = ""


class Parsed:
    """Values by flag name; ``given`` are the names found on the command line."""

    def __init__(self, values: dict[str, Value], given: frozenset[str], notices: list[str]) -> None:
        self._values = values
        self.given = given
        self.notices = notices

    def text(self, name: str) -> str:
        value = self._values[name]
        assert isinstance(value, str)
        return value

    def flag(self, name: str) -> bool:
        return self._values[name] is True

    def number(self, name: str) -> int:
        value = self._values[name]
        assert isinstance(value, int)
        return value

    def duration(self, name: str) -> timedelta:
        value = self._values[name]
        assert isinstance(value, timedelta)
        return value

    def texts(self, name: str) -> list[str]:
        value = self._values[name]
        assert isinstance(value, list)
        return value


def parse(flags: Sequence[Flag], arguments: Sequence[str]) -> Parsed:
    """Parse arguments. Raises ``FlagError`` with pflag's wording."""
    table: Mapping[str, Flag] = {flag.name: flag for flag in flags}
    values: dict[str, Value] = {
        f.name: list(f.default) if isinstance(f.default, list) else f.default for f in flags
    }
    given: set[str] = set()
    notices: list[str] = []
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        position += 1
        if argument == "--":
            break
        if not argument.startswith("-") or argument == "-":
            raise FlagError(f'unexpected argument "{argument}"')
        name, equals, text = argument[2 if argument.startswith("--") else 1 :].partition("=")
        if not name or name.startswith("-"):
            raise FlagError(f"bad flag syntax: {argument}")
        if (flag := table.get(name)) is None:
            raise FlagError(f"unknown flag: --{name}")
        if not equals:
            if flag.kind == "bool":
                text = "true"
            elif position < len(arguments):
                text = arguments[position]
                position += 1
            else:
                raise FlagError(f"flag needs an argument: --{name}")
        value = _convert(flag, text)
        if isinstance(value, list) and name in given:
            existing = values[name]
            assert isinstance(existing, list)
            existing.extend(value)
        else:
            values[name] = value
        if flag.replaced_by and name not in given:
            notices.append(f"Flag --{name} has been deprecated, {flag.replaced_by}")
        given.add(name)
    return Parsed(values, frozenset(given), notices)


def _convert(flag: Flag, text: str) -> Value:
    try:
        return _CONVERTERS[flag.kind](text)
    except ValueError as error:
        raise FlagError(f'invalid argument "{text}" for "--{flag.name}" flag: {error}') from None


def _boolean(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("expected true or false")


def _integer(text: str) -> int:
    if not _WHOLE_NUMBER.fullmatch(text):
        raise ValueError("expected a whole number")
    return int(text)


def _unsigned(text: str) -> int:
    if (number := _integer(text)) < 0:
        raise ValueError("expected a whole number, zero or more")
    return number


def _slice(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


_CONVERTERS: Mapping[Kind, Callable[[str], Value]] = {
    "string": str,
    "bool": _boolean,
    "int": _integer,
    "uint": _unsigned,
    "duration": parse_go_duration,
    "stringSlice": _slice,
}


def usage(program: str, summary: str, flags: Sequence[Flag]) -> str:
    """The text of ``--help``: every flag that is not hidden, aligned."""
    shown = [flag for flag in flags if not flag.hidden and not flag.replaced_by]
    heads = [f"--{flag.name}" + ("" if flag.kind == "bool" else f" {flag.kind}") for flag in shown]
    width = max(map(len, heads))
    lines = [f"{program}: {summary}", "", f"Usage: {program} [flags]", "", "Flags:"]
    for flag, head in zip(shown, heads, strict=True):
        lines.append(f"  {head:<{width}}  {flag.help}{_shown_default(flag)}")
    lines.append(f"  {'--help':<{width}}  print this text and exit")
    return "\n".join(lines)


def _shown_default(flag: Flag) -> str:
    if flag.default in (None, "", False) or flag.default == []:
        return ""
    if isinstance(flag.default, timedelta):
        from dapr_common.durations import format_go_duration

        return f" (default {format_go_duration(flag.default)})"
    if flag.default is True:
        return " (default true)"
    return f" (default {flag.default})"
