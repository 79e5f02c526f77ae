"""Whether the clock can be right: what was written must not be of the future."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dapr_cli.check.findings import Finding
from dapr_cli.install import Install

_SKEW = timedelta(minutes=1)
_FIX = "Set the clock (timedatectl set-ntp true): certificates, tokens and TTLs depend on it."


def check_clock(install: Install, now: datetime) -> Iterator[Finding]:
    """The newest of the installation's files tells the least that it must be."""
    newest = max((_written(path) for path in _files(install)), default=now)
    if newest - now > _SKEW:
        text = f"{_ago(newest - now)} behind: files in {install.root} were written later than now"
        yield Finding("error", "clock", "this machine", f"the clock is {text}", _FIX)


def differs(theirs: datetime, now: datetime, whose: str) -> Iterator[Finding]:
    """This machine's clock against another's."""
    if abs(theirs - now) > _SKEW:
        way = "behind" if theirs > now else "ahead of"
        text = f"the clock is {_ago(abs(theirs - now))} {way} that of {whose}"
        yield Finding("error", "clock", "this machine", text, _FIX)


def _files(install: Install) -> Iterator[Path]:
    """What this machine writes; a runtime that was unpacked has dates of elsewhere."""
    for directory in (install.root, install.components, install.data, install.bin, install.certs):
        if directory.is_dir():
            yield from directory.iterdir()


def _written(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.lstat().st_mtime, UTC)
    except OSError:
        return datetime.min.replace(tzinfo=UTC)


def _ago(by: timedelta) -> str:
    return str(by - timedelta(microseconds=by.microseconds))
