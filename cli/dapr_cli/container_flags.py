"""Flags of the official CLI that choose containers: taken for scripts, and said to do nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from dapr_cli.session import session

F = TypeVar("F", bound=Callable[..., Any])


def container_flags(function: F) -> F:
    """``--container-runtime`` and ``--network``, without their values."""
    return container_flag("--container-runtime")(container_flag("--network")(function))


def container_flag(flag: str, *, is_flag: bool = False) -> Callable[[F], F]:
    """One such flag."""
    return click.option(flag, is_flag=is_flag, expose_value=False, hidden=True, callback=_ignored)


def _ignored(ctx: click.Context, parameter: click.Parameter, value: str | bool | None) -> None:
    if value and not ctx.resilient_parsing:
        session().console.warning(f"{parameter.opts[0]} has no effect: no containers are used")
