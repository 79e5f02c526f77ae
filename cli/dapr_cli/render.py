"""Rows → text: tables as the official CLI prints them, JSON, YAML; ages and times."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

_GAP = "  "
_CUT = 20


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Left-aligned columns under upper-case heads; a column without any content is left out."""
    if not rows:
        return ""
    cells = [{name: str(value) for name, value in row.items()} for row in rows]
    columns = [name for name in rows[0] if any(row[name] for row in cells)]
    heads = {name: name.replace("_", " ").upper() for name in columns}
    widths = {n: max(len(heads[n]), *(len(row[n]) for row in cells)) for n in columns}
    lines = [heads, *cells]
    return "\n".join(
        _GAP.join(line[n].ljust(widths[n]) for n in columns).rstrip() for line in lines
    )


def as_json(value: object) -> str:
    """JSON, indented by two."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def as_yaml(value: Any) -> str:
    """YAML in the order given."""
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip("\n")


def show(value: Any, output: str) -> None:
    """Print as ``json``, as Go does without a newline at the end, or as ``yaml``."""
    click.echo(as_json(value) if output == "json" else as_yaml(value), nl=output == "yaml")


def age(seconds: float) -> str:
    """``41s``, ``12m``, ``5h`` or ``3d``."""
    whole = max(int(seconds), 0)
    if whole <= 60:
        return f"{whole}s"
    if whole <= 3600:
        return f"{whole // 60}m"
    if whole <= 86400:
        return f"{whole // 3600}h"
    return f"{whole // 86400}d"


def created(time: datetime) -> str:
    """A time as the tables show it: this machine's, wherever it comes from."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M.%S")


def cut(text: str, length: int = _CUT) -> str:
    """A text no longer than ``length``; a cut one ends with dots."""
    return text if len(text) <= length else f"{text[: length - 3]}..."
