"""What every command knows: the global flags, the install directory, where messages go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import click
from click.core import ParameterSource

from dapr_cli.completions import directories
from dapr_cli.console import Console
from dapr_cli.go_flags import FlagNames, plain
from dapr_cli.install import Install, locate


@dataclass(slots=True)
class Session:
    """The global flags, which may stand before or after the verb."""

    runtime_path: str = ""
    log_as_json: bool = False

    @property
    def install(self) -> Install:
        return locate(self.runtime_path)

    @property
    def console(self) -> Console:
        return Console(as_json=self.log_as_json)


def session() -> Session:
    """The session of the command that runs."""
    return click.get_current_context().ensure_object(Session)


def global_options() -> list[click.Parameter]:
    """The options of the root command that every verb takes as well."""
    return [
        click.Option(
            ["--log-as-json"],
            is_flag=True,
            expose_value=False,
            callback=_remember("log_as_json"),
            help="Write every status line as one JSON object.",
        ),
        click.Option(
            ["--runtime-path"],
            metavar="DIR",
            shell_complete=directories,
            expose_value=False,
            callback=_remember("runtime_path"),
            help="Where the .dapr directory lies.  [default: $DAPR_RUNTIME_PATH, else your home]",
        ),
    ]


class Switch(click.Option):
    """An option of truth that may be on by default, or neither on nor off: ``--flag=false``.

    ``--flag`` alone is ``--flag=true``.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **{"type": click.BOOL, "metavar": "BOOL", **named})


class Verb(click.Command):
    """A command with the global flags, which are spelled as those of the official CLI."""

    def __init__(self, *args: Any, **named: Any) -> None:
        own = named.get("params", [])
        taken = {name for parameter in own for name in parameter.opts}
        more = [option for option in global_options() if not taken.intersection(option.opts)]
        named["params"] = [*own, *more]
        named.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*args, **named)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        names = FlagNames(
            switches=self._names(lambda option: option.is_flag),
            truths=self._names(lambda option: isinstance(option, Switch)),
            valued=self._names(lambda option: not (option.is_flag or isinstance(option, Switch))),
        )
        return super().parse_args(ctx, plain(args, names, strict=not ctx.resilient_parsing))

    def _names(self, wanted: Callable[[click.Option], bool]) -> frozenset[str]:
        options = (each for each in self.params if isinstance(each, click.Option))
        return frozenset(name for option in options if wanted(option) for name in option.opts)


kubernetes_option = click.option(
    "-k", "--kubernetes", is_flag=True, help="Work on the Kubernetes cluster of your kubeconfig."
)


output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="How to print it.",
)


def warn_of_unused(names: Iterable[str]) -> None:
    """Say of flags that were given that they only count with ``-k``."""
    context = click.get_current_context()
    given = {
        parameter.name: parameter.opts[-1]
        for parameter in context.command.params
        if context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    }
    for name in names:
        if name in given:
            session().console.warning(f"{given[name]} has no effect without -k")


# Of commands that work on nothing else.
kubernetes_only_option = click.option(
    "-k",
    "--kubernetes",
    is_flag=True,
    expose_value=False,
    help="Accepted for scripts: the command works on nothing else.",
)


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def remember(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            setattr(ctx.ensure_object(Session), name, value)

    return remember
