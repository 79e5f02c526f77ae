"""``dapr init``: directories, the launchers of programs, a configuration and components."""

from __future__ import annotations

import socket
from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from dapr_cli import launcher, manifests, own_sentry
from dapr_cli.cluster_setup import cluster_options, install_into_cluster
from dapr_cli.console import Console
from dapr_cli.container_flags import container_flag, container_flags
from dapr_cli.errors import CliError
from dapr_cli.install import Install
from dapr_cli.redis_check import check_redis
from dapr_cli.session import Verb, kubernetes_option, session, warn_of_unused
from dapr_common import RUNTIME_VERSION

_ZIPKIN_SECONDS = 0.3
_TRACED = "every request will be traced to it"


@click.command("init", cls=Verb)
@click.option("-s", "--slim", is_flag=True, help="Only programs and an empty configuration.")
@click.option("--redis", is_flag=True, help="Components on a Redis server, which must be running.")
@click.option(
    "--redis-host",
    metavar="HOST:PORT",
    default="localhost:6379",
    show_default=True,
    help="Where --redis looks for it.",
)
@click.option(
    "--mtls",
    is_flag=True,
    help="Mutual TLS between the apps of this machine, with certificates of an own sentry.",
)
@click.option(
    "--from-dir",
    metavar="DIR",
    type=click.Path(exists=True, path_type=Path),
    help="Without any network, from the unpacked archive of 'dapr bundle create'.",
)
@click.option(
    "--runtime-version",
    metavar="VERSION",
    envvar="DAPR_RUNTIME_VERSION",
    default="",
    help=f"Only {RUNTIME_VERSION} or latest: the runtime comes with this CLI. With -k: the tag of "
    "the images.",
)
@container_flags
@container_flag("--scheduler-volume")
@container_flag("--scheduler-override-broadcast-host-port")
@container_flag("--redis-stack", is_flag=True)
@kubernetes_option
@cluster_options
def init_command(
    kubernetes: bool,
    slim: bool,
    redis: bool,
    redis_host: str,
    mtls: bool,
    from_dir: Path | None,
    runtime_version: str,
    **cluster: Any,
) -> None:
    """Set Dapr up on this machine, with -k in Kubernetes.

    On this machine: no Docker, no network, no root. Writes bin/daprd and
    bin/placement, which 'dapr run' starts when apps need it, config.yaml and the components
    statestore, pubsub and secretstore. The embedded ones keep their data in
    .dapr/data. It may be run again at any time: files that you changed stay as they are.

    With --mtls also bin/sentry, which 'dapr run' starts when apps need it, and its certificate
    authority in .dapr/certs. With --from-dir the runtime comes from a bundle, into .dapr/runtime;
    without, it is the one of this command.

    With -k: makes Dapr's kinds known to the cluster and installs the Helm chart that comes with
    this CLI. The program helm must be on PATH. With --from-dir both come from a bundle, whose
    images are pushed to the registry that --image-registry names; without, the command says how
    they get into the cluster.
    """
    if kubernetes:
        if slim or redis or mtls:
            raise click.UsageError(
                "--slim, --redis and --mtls are of this machine: leave them out with -k "
                "(there --enable-mtls is on)"
            )
        install_into_cluster(runtime_version, from_dir=from_dir, **cluster)
    else:
        if from_dir is not None and cluster["image_registry"]:
            raise click.UsageError(
                "--image-registry and --from-dir: on this machine nothing comes from a registry; "
                "with -k the images of the bundle are pushed there"
            )
        warn_of_unused(cluster)
        _check_version(runtime_version, session().console)
        _init_here(slim, redis_host if redis else "", mtls=mtls, from_dir=from_dir)


def _init_here(slim: bool, redis_host: str, *, mtls: bool, from_dir: Path | None) -> None:
    if slim and redis_host:
        raise click.UsageError("--slim writes no components, --redis writes some: choose one")
    console, install = session().console, session().install
    if redis_host:
        check_redis(redis_host)
    console.pending(f"Setting Dapr up in {install.root}")
    if from_dir is not None:
        from dapr_cli.bundle.installing import install_runtime

        install_runtime(from_dir, install, console)
    _directories(install)
    programs = {install.daprd: "dapr_sidecar", install.placement: "dapr_placement"}
    if mtls or install.sentry.exists():
        programs[install.sentry] = "dapr_sentry"
    for file, package in programs.items():
        written = launcher.write(file, package, install.python)
        _report(console, f"bin/{file.name}", "written" if written else "is up to date")
    zipkin = not slim and _listens(*manifests.ZIPKIN)
    _configuration(install, console, zipkin=zipkin, mtls=mtls)
    if not slim:
        _components(install, redis_host, console)
    if mtls:
        own_sentry.set_up(install, console)
    console.success(f"Dapr runtime {RUNTIME_VERSION} is set up")
    console.info("Next: dapr run --app-id myapp --app-port 8000 -- python app.py")


def _check_version(version: str, console: Console) -> None:
    if version and version.removeprefix("v") not in ("latest", RUNTIME_VERSION):
        console.warning(f"--runtime-version {version}: this CLI brings {RUNTIME_VERSION} instead")


def _directories(install: Install) -> None:
    try:
        for directory in (install.root, install.bin, install.components, install.data):
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise CliError(
            f"{install.root} cannot be written: {error.strerror}",
            "Choose another place: --runtime-path DIR",
        ) from error


def _configuration(install: Install, console: Console, *, zipkin: bool, mtls: bool) -> None:
    # What an earlier init wrote and nobody changed makes way; what is on in it stays on.
    own = {
        manifests.configuration(zipkin=traced, mtls=secure): (traced, secure)
        for traced in (False, True)
        for secure in (False, True)
    }
    traced, secure = own.get(_text(install.config), (False, False))
    text = manifests.configuration(zipkin=zipkin or traced, mtls=mtls or secure)
    _write(install.config, text, own, install, console)
    if zipkin:
        kept = _text(install.config) != text
        console.info(
            "Zipkin answers on port 9411: "
            + ("config.yaml, which you changed, says what is traced" if kept else _TRACED)
        )


def _components(install: Install, redis_host: str, console: Console) -> None:
    embedded = manifests.embedded(install)
    wanted = manifests.redis(redis_host) if redis_host else embedded
    for name, text in {**wanted, **manifests.secrets(install)}.items():
        # What an earlier init wrote and nobody changed makes way for Redis.
        replaced = [embedded[name]] if name in embedded else []
        _write(install.components / name, text, replaced, install, console)
    if not install.secrets.exists():
        install.secrets.touch(mode=0o600)
        install.secrets.write_text("{}\n")


def _write(
    file: Path, text: str, replaced: Collection[str], install: Install, console: Console
) -> None:
    name = str(file.relative_to(install.root))
    if not file.exists():
        file.write_text(text, encoding="utf-8")
        file.chmod(0o644)
        _report(console, name, "written" + _type(text))
        return
    existing = _text(file)
    if existing == text:
        _report(console, name, "is up to date" + _type(text))
    elif existing in replaced:
        file.write_text(text, encoding="utf-8")
        before = _type(existing)
        _report(console, name, f"written{_type(text)}" + (f", in place of{before}" * bool(before)))
    else:
        _report(console, name, f"kept as it is{_type(existing)}")


def _text(file: Path) -> str:
    """What stands in a file; "" when there is none."""
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def _type(text: str) -> str:
    """`` (state.sqlite)`` for a component's manifest."""
    for line in text.splitlines():
        if line.strip().startswith("type:"):
            return f" ({line.partition(':')[2].strip()})"
    return ""


def _report(console: Console, name: str, what: str) -> None:
    console.success(f"{name} {what}")


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), _ZIPKIN_SECONDS):
            return True
    except OSError:
        return False
