"""``dapr check``: what is wrong with a set-up, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from dapr_cli import instances, render
from dapr_cli.check.findings import Finding, in_order
from dapr_cli.errors import CliError
from dapr_cli.install import Install
from dapr_cli.session import Session, Verb, kubernetes_option, output_option, session
from dapr_cli.settings import RunSettings


@click.command("check", cls=Verb)
@click.option(
    "--resources-path",
    "resources_path",
    multiple=True,
    metavar="DIR",
    help="Also the resource files of this directory; may be repeated.",
)
@click.option(
    "-f", "--run-file", default="", metavar="FILE|DIR", help="Also the apps of this run file."
)
@click.option(
    "-p",
    "--port",
    "ports",
    multiple=True,
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Also whether this port is free; may be repeated.",
)
@click.option(
    "-n",
    "--namespace",
    default="",
    metavar="NAME",
    help="With -k: only apps and resources of this namespace.",
)
@kubernetes_option
@output_option
def check_command(
    kubernetes: bool,
    resources_path: tuple[str, ...],
    run_file: str,
    ports: tuple[int, ...],
    namespace: str,
    output: str,
) -> int:
    """Find what is wrong with a set-up, and its fix.

    On this machine: the installation, ports and who uses them, resource files, running sidecars
    and their components, certificates, the clock. With -k: the control plane, Dapr's kinds,
    webhooks, certificates, resources and pods of your cluster.

    Every line has a problem and its fix. The exit code is 1 when one of them is an error; warnings
    alone leave it 0.
    """
    current = session()
    if kubernetes:
        if resources_path or run_file or ports:
            raise click.UsageError(
                "--resources-path, --run-file and --port are of this machine: leave them out with "
                "-k"
            )
        from dapr_cli.check.cluster import check_cluster

        found = check_cluster(namespace)
    else:
        if namespace:
            raise click.UsageError("--namespace is of a cluster: give -k, too")
        found = list(_here(current, resources_path, run_file, ports))
    return _show(in_order(found), output, current)


def _show(found: list[Finding], output: str, current: Session) -> int:
    if output != "table":
        render.show([one.record() for one in found], output)
    elif found:
        click.echo(render.table([one.row() for one in found]))
    else:
        current.console.success("No problems were found.")
    return 1 if any(one.severity == "error" for one in found) else 0


def _here(
    current: Session, resources_path: tuple[str, ...], run_file: str, ports: tuple[int, ...]
) -> Iterator[Finding]:
    from dapr_cli.check import certificates, clock, installation, resource_files, sidecars
    from dapr_cli.check import ports as port_checks
    from dapr_cli.run_file import read

    install, now = current.install, datetime.now(UTC)
    running = instances.asked(instances.running())
    apps: tuple[RunSettings, ...] = ()
    try:
        apps = read(run_file, current.runtime_path).apps if run_file else ()
    except CliError as error:
        yield Finding("error", "resources", run_file, error.message, "Correct the run file.")
    mtls = installation.is_mtls(install)
    yield from installation.check_installation(install)
    yield from port_checks.check_services(mtls=mtls)
    yield from port_checks.check_wanted(ports, running)
    yield from port_checks.check_run_file(apps, running)
    directories = _directories(install, resources_path)
    directories += [Path(path) for app in apps for path in app.resources]
    yield from resource_files.check_files(install.config, directories)
    yield from sidecars.check_sidecars(running)
    yield from certificates.check_authority(install.certs, now, wanted=mtls)
    yield from certificates.check_workloads(running, now)
    yield from clock.check_clock(install, now)


def _directories(install: Install, given: tuple[str, ...]) -> list[Path]:
    own = [install.components] if install.components.is_dir() else []
    return own + [Path(path) for each in given for path in each.split(",") if path]
