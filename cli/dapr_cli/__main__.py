"""``dapr``: find the verb, run it, exit with what it says."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from dapr_cli.console import mute
from dapr_cli.errors import CliError
from dapr_cli.go_flags import FlagNames, plain
from dapr_cli.session import Session, global_options

_USAGE_ERROR = 255

# Verb → its line in ``dapr --help``; the module is imported when the verb is called.
VERBS = {
    "annotate": "Give a workload of a manifest its Dapr sidecar.",
    "build-info": "Print build information of the CLI and the runtime.",
    "bundle": "Pack Dapr for machines that have no network.",
    "check": "Find what is wrong with a set-up, and its fix.",
    "completion": "Print a completion script for a shell.",
    "components": "List the components in your Kubernetes cluster.",
    "configurations": "List the configurations in your Kubernetes cluster.",
    "dashboard": "Show apps, components and their health as pages.",
    "init": "Set Dapr up on this machine, with -k in Kubernetes.",
    "invoke": "Call a method of a running app.",
    "list": "List the running apps and their sidecars.",
    "logs": "Print the log of an app's sidecar in a Kubernetes cluster.",
    "mcpservers": "List MCP servers, of resource files or with -k of a cluster.",
    "mtls": "Inspect, export or renew sentry's certificate authority.",
    "publish": "Publish a message through a running app's sidecar.",
    "run": "Run an app, or all apps of a run file, with their sidecars.",
    "status": "Show how the control plane in your Kubernetes cluster is.",
    "stop": "Stop running apps and their sidecars.",
    "uninstall": "Remove the runtime, with -k from a Kubernetes cluster.",
    "upgrade": "Upgrade Dapr in a Kubernetes cluster.",
    "version": "Print the versions of the CLI and the runtime.",
}
# Verbs of the official CLI that this product has not, and what to know instead.
ABSENT = {
    "scheduler": (
        "this product has no Scheduler service",
        "The CLI of the Dapr whose Scheduler your sidecars use looks into it.",
    ),
    "workflow": (
        "this runtime has no workflows",
        "Apps that use them need a sidecar of the original Dapr; both can call each other.",
    ),
}


class Root(click.Group):
    """Knows its verbs by name, so that ``dapr --help`` imports none of them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """``dapr help VERB`` is ``dapr VERB --help``."""
        if args and args[0] == "help":
            args = [*args[1:], "--help"]
        names = FlagNames(
            switches=frozenset({"-v", "--version", "--log-as-json"}),
            valued=frozenset({"--runtime-path"}),
        )
        words = plain(args, names, strict=not ctx.resilient_parsing, only_first=True)
        return super().parse_args(ctx, words)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(import_module(f"dapr_cli.commands.{name}"), f"{name}_command")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if ctx.resilient_parsing:  # a shell asks what may follow, and wants no complaints
            return super().resolve_command(ctx, args)
        if args and args[0] in ABSENT:
            raise CliError(f"dapr {args[0]}: {ABSENT[args[0]][0]}", ABSENT[args[0]][1])
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            raise click.UsageError(f"unknown command '{args[0]}' for 'dapr'{_meant(args[0])}", ctx)
        return super().resolve_command(ctx, args)


def root() -> Root:
    """The whole command line."""
    return Root(
        "dapr",
        params=[
            click.Option(
                ["-v", "--version"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=_version,
                help="Print the versions and exit.",
            ),
            *global_options(),
        ],
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Run applications with Dapr sidecars, on this machine and in Kubernetes.",
        epilog="'dapr COMMAND --help' says more about a command.",
        invoke_without_command=True,
        callback=_without_verb,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    session = Session()
    try:
        result = root().main(arguments, prog_name="dapr", standalone_mode=False, obj=session)
        sys.stdout.flush()
    except click.UsageError as error:
        error.show()
        return _USAGE_ERROR
    except click.ClickException as error:
        session.console.failure(error.format_message())
        return 1
    except CliError as error:
        session.console.report(error.message, error.hint)
        return 1
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        mute(sys.stdout)  # the interpreter's last flush must not complain
        return 1
    return result if isinstance(result, int) else 0


def _without_verb() -> None:
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _version(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value and not ctx.resilient_parsing:
        from dapr_cli.commands.version import versions

        click.echo(versions(ctx.ensure_object(Session).install).text())
        ctx.exit()


def _meant(word: str) -> str:
    import difflib

    near = difflib.get_close_matches(word, VERBS, 1)
    return f", did you mean '{near[0]}'?" if near else ""


if __name__ == "__main__":
    sys.exit(main())
