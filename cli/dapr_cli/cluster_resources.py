"""What ``dapr components``, ``configurations`` and ``mcpservers`` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from dapr_cli import render
from dapr_cli.session import kubernetes_only_option, session
from dapr_common.kube.kinds import KubeObject

F = TypeVar("F", bound=Callable[..., Any])


def namespace_options(function: F) -> F:
    """``--namespace`` and ``--all-namespaces``; all of them is the default."""
    function = click.option("--namespace", default="", help="Only those of this namespace.")(
        function
    )
    return click.option(
        "-A",
        "--all-namespaces",
        is_flag=True,
        expose_value=False,
        help="Those of all namespaces, which is the default.",
    )(function)


def listing_options(function: F) -> F:
    """Which objects, and how they are printed."""
    options = (
        click.option("-n", "--name", default="", help="Only the one of this name."),
        namespace_options,
        click.option(
            "-o",
            "--output",
            type=click.Choice(["table", "json", "yaml", "list"]),
            default="table",
            show_default=True,
            help="How to print it; list is the official CLI's word for table.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def resource_options(function: F) -> F:
    """The flags of those that a cluster only has."""
    return listing_options(kubernetes_only_option(function))


def show_resources(plural: str, name: str, namespace: str, output: str) -> None:
    """List the objects of one of Dapr's kinds."""
    from dapr_cli.kube.cluster import on_cluster
    from dapr_common.kube.kinds import Kind, Selection

    wanted = Selection(Kind("dapr.io", "v1alpha1", plural), namespace)
    show_objects(plural, on_cluster(lambda client: client.list_all(wanted)).items, name, output)


def show_objects(plural: str, objects: Iterable[KubeObject], name: str, output: str) -> None:
    """Print objects, only the one of a name when it is given."""
    from dapr_cli.kube.resources import ROWS, chosen, records

    found = chosen(objects, name)
    if output in ("json", "yaml"):
        render.show(records(found), output)
    elif found:
        now = datetime.now(UTC)
        click.echo(render.table([ROWS[plural](body, now) for body in found]))
    else:
        session().console.info(f"No {plural} found.")
