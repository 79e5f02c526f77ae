"""Container images in OCI's layout → an OCI archive, as ``ctr`` and ``kind`` load it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dapr_cli.bundle.image_names import ImageName, common
from dapr_cli.bundle.manifest import megabytes
from dapr_cli.console import Console
from dapr_cli.errors import CliError

ARCHIVE = "images.tar"
CONTAINERD_NAME = "io.containerd.image.name"
_NAMES = ("org.opencontainers.image.ref.name", CONTAINERD_NAME)


def export(layout: Path, target: Path, console: Console) -> dict[str, str]:
    """One archive of all images of a layout; image name → file. Raises ``CliError``.

    Programs like these share most of their layers: each is in it once.
    """
    entries = {_name(layout, entry): entry for entry in _index(layout)}
    common(map(str, entries))  # what a cluster could not be given is said here already
    target.mkdir()
    console.pending(f"Adding the images {', '.join(map(str, entries))}")
    named = [_named(entry, name) for name, entry in entries.items()]
    _archive(layout, named, target / ARCHIVE)
    console.success(f"{len(named)} images, {megabytes((target / ARCHIVE).stat().st_size)}")
    return {str(name): ARCHIVE for name in entries}


def _name(layout: Path, entry: Mapping[str, Any]) -> ImageName:
    annotations = entry.get("annotations") or {}
    try:
        return ImageName.parse(next((annotations[k] for k in _NAMES if annotations.get(k)), ""))
    except ValueError as error:
        raise CliError(
            f"an image in {layout} cannot be found by any cluster: {error}",
            "'skopeo copy … oci:FOLDER:registry.example.com/dapr/daprd:1.0' gives it a name.",
        ) from error


def _named(entry: Mapping[str, Any], name: ImageName) -> dict[str, Any]:
    """With its full name where containerd looks for it."""
    annotations = {**(entry.get("annotations") or {}), CONTAINERD_NAME: str(name)}
    return {**entry, "annotations": annotations}


def _index(layout: Path) -> list[dict[str, Any]]:
    try:
        index = json.loads((layout / "index.json").read_text(encoding="utf-8"))
        entries = list(index["manifests"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CliError(
            f"{layout} holds no images in OCI's layout: {error}",
            "'make images' makes them; 'skopeo copy' brings those of an engine into a layout.",
        ) from error
    if not entries:
        raise CliError(f"{layout} holds no images", "'make images' makes them.")
    return entries


def _archive(layout: Path, entries: Sequence[Mapping[str, Any]], file: Path) -> None:
    with tarfile.open(file, "w") as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        body = {"schemaVersion": 2, "manifests": entries}
        _add(archive, "index.json", json.dumps(body).encode())
        for name in dict.fromkeys(name for entry in entries for name in _blobs(layout, entry)):
            archive.add(layout / name, name)


def _blobs(layout: Path, entry: Mapping[str, Any]) -> Iterator[str]:
    """The manifest, and what it names; an index names manifests."""
    name = f"blobs/{str(entry['digest']).replace(':', '/')}"
    yield name
    if "manifest" not in str(entry.get("mediaType")) and "index" not in str(entry.get("mediaType")):
        return
    body = json.loads((layout / name).read_text(encoding="utf-8"))
    config = [body["config"]] if "config" in body else []
    for below in (*config, *body.get("layers", ()), *body.get("manifests", ())):
        yield from _blobs(layout, below)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
