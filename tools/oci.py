"""A folder of container images in OCI's layout: layers in, images out, archives for ``ctr``.

Layers are tar files that depend on nothing but what is in them: no time, no owner of this machine.
The same content has the same digest, and is stored and sent once.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_NAME = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME = "io.containerd.image.name"
_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Blob:
    """Something stored under the digest of its content."""

    digest: str
    size: int

    def descriptor(self, media_type: str) -> dict[str, Any]:
        """How other documents refer to it."""
        return {"mediaType": media_type, "digest": self.digest, "size": self.size}


class Layout:
    """The folder. One process writes at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs" / "sha256"

    def names(self) -> dict[str, str]:
        """The images by name, each with the digest of its manifest."""
        return {
            entry["annotations"][_NAME]: entry["digest"] for entry in self._index()["manifests"]
        }

    def path(self, digest: str) -> Path:
        """The file of a blob."""
        return self._blobs / digest.removeprefix("sha256:")

    def add_layer(self, sources: Iterable[tuple[Path, str]]) -> Blob:
        """Store a layer of files and folders, each at its path in the image."""
        self._blobs.mkdir(parents=True, exist_ok=True)
        temporary = self._blobs / f".{os.getpid()}"
        with temporary.open("wb") as file:
            sink = _Hashing(file)
            with tarfile.open(fileobj=sink, mode="w|", bufsize=_BUFFER) as archive:  # type: ignore[call-overload]
                for source, target in sources:
                    _add(archive, source, target.strip("/"))
        blob = Blob(f"sha256:{sink.hash.hexdigest()}", sink.size)
        temporary.replace(self.path(blob.digest))
        return blob

    def save(self, name: str, layers: Sequence[Blob], config: Mapping[str, Any]) -> str:
        """Store an image under a name, instead of the one that had it. Returns its digest."""
        document = {
            "architecture": "amd64",
            "os": "linux",
            "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._put(document).descriptor(_CONFIG),
            "layers": [layer.descriptor(_LAYER) for layer in layers],
        }
        blob = self._put(manifest)
        index = self._index()
        others = [e for e in index["manifests"] if e["annotations"][_NAME] != name]
        entry = {
            **blob.descriptor(MANIFEST),
            "annotations": {_NAME: name, _CONTAINERD_NAME: name},
        }
        index["manifests"] = [*others, entry]
        self._write_index(index)
        return blob.digest

    def manifest(self, digest: str) -> dict[str, Any]:
        """A manifest, parsed."""
        found: dict[str, Any] = json.loads(self.path(digest).read_bytes())
        return found

    def contents(self, digest: str) -> list[str]:
        """The digests of everything that an image consists of."""
        manifest = self.manifest(digest)
        return [digest, manifest["config"]["digest"], *(e["digest"] for e in manifest["layers"])]

    def size(self, digest: str) -> int:
        """The bytes of an image's layers."""
        return sum(entry["size"] for entry in self.manifest(digest)["layers"])

    def write_archive(
        self, sink: IO[bytes], names: Container[str], without: Container[str] = ()
    ) -> None:
        """Images as one tar for ``ctr images import``, less the blobs that it has."""
        index = self._index()
        index["manifests"] = [e for e in index["manifests"] if e["annotations"][_NAME] in names]
        wanted = {d for e in index["manifests"] for d in self.contents(e["digest"])}
        with tarfile.open(fileobj=sink, mode="w|", bufsize=_BUFFER) as archive:
            for name, document in (
                ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
                ("index.json", index),
            ):
                text = json.dumps(document).encode()
                member = tarfile.TarInfo(name)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text))
            for digest in sorted(wanted):
                if digest not in without:
                    archive.add(self.path(digest), f"blobs/sha256/{digest.removeprefix('sha256:')}")

    def prune(self) -> None:
        """Remove the blobs that belong to no image."""
        used = {
            self.path(d).name for digest in self.names().values() for d in self.contents(digest)
        }
        for file in self._blobs.iterdir():
            if file.name not in used:
                file.unlink()

    def _put(self, document: Mapping[str, Any]) -> Blob:
        content = json.dumps(document, sort_keys=True).encode()
        blob = Blob(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
        self._blobs.mkdir(parents=True, exist_ok=True)
        self.path(blob.digest).write_bytes(content)
        return blob

    def _index(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / "index.json").read_bytes())
        except FileNotFoundError:
            return {"schemaVersion": 2, "manifests": []}
        return found

    def _write_index(self, index: Mapping[str, Any]) -> None:
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        new = self.folder / "index.json.new"
        new.write_text(json.dumps(index, indent=1))
        new.replace(self.folder / "index.json")


class _Hashing:
    """Passes on what is written, and knows its digest."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.size += len(data)
        return self._file.write(data)


def _add(archive: tarfile.TarFile, source: Path, target: str) -> None:
    """A file, or a folder with all that is in it, and the folders above."""
    above = Path(target).parts if source.is_dir() and not source.is_symlink() else ()
    for depth in range(1, len(above or Path(target).parts)):
        archive.addfile(_folder("/".join(Path(target).parts[:depth])))
    for path in _walk(source):
        inside = Path(target, path.relative_to(source)).as_posix()
        if inside == ".":
            continue
        member = archive.gettarinfo(path, inside)
        if member is None:
            continue  # a socket: images hold none
        _anonymise(member)
        if member.isreg():
            with path.open("rb") as file:
                archive.addfile(member, file)
        else:
            archive.addfile(member)


def _folder(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE
    member.mode = 0o755
    return member


def _walk(source: Path) -> Iterator[Path]:
    yield source
    if source.is_dir() and not source.is_symlink():
        for path in sorted(source.iterdir()):
            yield from _walk(path)


def _anonymise(member: tarfile.TarInfo) -> None:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
