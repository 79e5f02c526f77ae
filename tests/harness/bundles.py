"""Bundles without wheels, and the images in them: small, made here, each with its own layer."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dapr_cli.bundle.images import export
from dapr_cli.bundle.manifest import CHART, IMAGES, Manifest, contents
from dapr_cli.console import Console
from dapr_cli.kube import shipped

_MEDIA = "application/vnd.oci.image"
PROGRAMS = ("daprd", "injector", "operator", "placement", "sentry")


def _layer(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


SHARED_LAYER = _layer("base", b"what all images have below " * 4000)


class Layout:
    """A folder in OCI's layout. ``digests`` are those of the images by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.digests: dict[str, str] = {}
        self._entries: list[dict[str, Any]] = []

    def blob(self, content: bytes, kind: str) -> dict[str, Any]:
        """Store something; its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (self.folder / "blobs" / "sha256" / digest).write_bytes(content)
        return {
            "mediaType": f"{_MEDIA}.{kind}",
            "digest": f"sha256:{digest}",
            "size": len(content),
        }

    def manifest(self, mark: str, architecture: str, extra: bytes) -> dict[str, Any]:
        """An image of two layers: one that all have, one of its own, with ``extra`` in it."""
        layers = [SHARED_LAYER, _layer("own", f"{mark} on {architecture}".encode() + extra)]
        config = {
            "os": "linux",
            "architecture": architecture,
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers],
            },
        }
        body = {
            "schemaVersion": 2,
            "mediaType": f"{_MEDIA}.manifest.v1+json",
            "config": self.blob(json.dumps(config).encode(), "config.v1+json"),
            "layers": [self.blob(one, "layer.v1.tar") for one in layers],
        }
        return self.blob(json.dumps(body).encode(), "manifest.v1+json")

    def add(self, name: str, *architectures: str, extra: bytes = b"") -> None:
        """An image; of several architectures it is a list."""
        made = [self.manifest(name, one, extra) for one in architectures or ("amd64",)]
        entry = made[0]
        if len(made) > 1:
            listed = [
                {**one, "platform": {"os": "linux", "architecture": architecture}}
                for one, architecture in zip(made, architectures, strict=True)
            ]
            body = {
                "schemaVersion": 2,
                "mediaType": f"{_MEDIA}.index.v1+json",
                "manifests": listed,
            }
            entry = self.blob(json.dumps(body).encode(), "index.v1+json")
        annotations = {"org.opencontainers.image.ref.name": name}
        self._entries.append({**entry, "annotations": annotations})
        self.digests[name] = str(entry["digest"])
        self.write()

    def write(self) -> None:
        """Its list of images."""
        body = {"schemaVersion": 2, "manifests": self._entries}
        (self.folder / "index.json").write_text(json.dumps(body))


def layout(
    folder: Path,
    prefix: str = "localhost/dapr",
    tag: str = "1.2.3",
    programs: Iterable[str] = PROGRAMS,
    architectures: Iterable[str] = ("amd64",),
) -> Layout:
    """Images of the chart's programs."""
    made = Layout(folder)
    for program in programs:
        made.add(f"{prefix}/{program}:{tag}", *architectures)
    return made


def bundle(folder: Path, images: Path | None = None, *, version: str = "9.9.9") -> Path:
    """An unpacked bundle with the chart of this checkout."""
    folder.mkdir()
    shutil.copytree(shipped.chart(), folder / CHART)
    names = export(images, folder / IMAGES, Console()) if images is not None else {}
    write_manifest(folder, {name: f"{IMAGES}/{file}" for name, file in names.items()}, version)
    return folder


def write_manifest(folder: Path, images: dict[str, str], version: str = "9.9.9") -> None:
    """With the files as they are now."""
    for file in (folder / "bundle.json", folder / "SHA256SUMS"):
        file.unlink(missing_ok=True)
    Manifest(
        version=version,
        runtime_version=version,
        python="3.11",
        platform="linux-x86_64",
        extras="all",
        created="",
        files=contents(folder),
        images=images,
    ).write(folder)
