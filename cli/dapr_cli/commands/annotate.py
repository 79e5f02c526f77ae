"""``dapr annotate``: give a workload of a manifest its sidecar."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from dapr_cli.errors import CliError, reason
from dapr_cli.kube.annotate import KINDS, Annotator, ManifestError, Target
from dapr_cli.kube.annotation_flags import FLAGS, given_annotations
from dapr_cli.session import Verb, kubernetes_only_option, session

_URL_SECONDS = 30.0
_MOST_BYTES = 16 << 20
_ENDINGS = (".yaml", ".yml", ".json")


@click.command("annotate", cls=Verb, params=[flag.option() for flag in FLAGS])
@click.argument("source", metavar="FILE|DIR|URL|-", type=click.Path(allow_dash=True))
@click.option("-r", "--resource", default="", help="The name of the workload to annotate.")
@click.option("-n", "--namespace", default="", help="The namespace of the workload to annotate.")
@kubernetes_only_option
def annotate_command(source: str, resource: str, namespace: str, **given: Any) -> None:
    """Give a workload of a manifest its Dapr sidecar.

    Prints the manifest with annotations. The first Pod, Deployment, ReplicaSet, StatefulSet,
    DaemonSet, Job or CronJob is meant unless you name one. Nothing is changed in the cluster:
    pass the output on to 'kubectl apply -f -'.
    """
    annotator = Annotator(given_annotations(given), Target(name=resource, namespace=namespace))
    try:
        texts = [annotator.text(text, name) for name, text in _sources(source)]
    except ManifestError as error:
        raise CliError(str(error)) from error
    if not annotator.annotated:
        raise CliError(
            f"there is no workload{annotator.target} in {source}",
            f"What can be annotated: {', '.join(KINDS)}.",
        )
    click.echo("---\n".join(text.removeprefix("---\n") for text in texts if text), nl=False)
    session().console.hint(f"{annotator.annotated} is annotated")


def _sources(source: str) -> Iterator[tuple[str, str]]:
    """Name and text of everything that is to be printed."""
    if source == "-":
        yield "standard input", sys.stdin.read()
    elif source.startswith(("http://", "https://")):
        yield source, _fetch(source)
    else:
        path = Path(source)
        for file in _files(path) if path.is_dir() else [path]:
            yield str(file), _read(file)


def _files(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix in _ENDINGS)
    if not found:
        raise CliError(f"there are no manifests in {folder}: no {', '.join(_ENDINGS)} files")
    return found


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CliError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise CliError(f"{file} cannot be read: {error}") from error


def _fetch(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=_URL_SECONDS) as answer:  # noqa: S310 - http(s)
            content: bytes = answer.read(_MOST_BYTES + 1)
        text = content.decode()
    except urllib.error.URLError as error:
        why = reason(error.reason) if isinstance(error.reason, OSError) else str(error)
        raise CliError(f"{url} cannot be fetched: {why}") from error
    except (OSError, ValueError) as error:
        raise CliError(f"{url} cannot be fetched: {error}") from error
    if len(content) > _MOST_BYTES:
        raise CliError(f"{url} is larger than {_MOST_BYTES >> 20} MiB")
    return text
