"""OCI archives as a bundle has them: what an image in one consists of, and its platforms."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from dapr_cli.bundle.images import CONTAINERD_NAME
from dapr_cli.errors import CliError

_MAX_DOCUMENT_BYTES = 4 << 20  # what registries take as a manifest
_AGAIN = "Make the bundle again: 'dapr bundle create --images'."


@dataclass(frozen=True, slots=True)
class Descriptor:
    """How one document refers to another; the size is in bytes."""

    media_type: str
    digest: str
    size: int

    @property
    def is_index(self) -> bool:
        """Whether it is a list of manifests, one for each platform."""
        return "index" in self.media_type or "manifest.list" in self.media_type

    @property
    def member(self) -> str:
        """Where a layout has its content."""
        return f"blobs/{self.digest.replace(':', '/')}"


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """Such as ``linux/amd64``."""

    os: str
    architecture: str

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


class Archive:
    """One image in a file. Use it as ``with``; what is not as it must be is a ``CliError``."""

    def __init__(self, file: Path, name: str) -> None:
        self._file = file
        self._name = name

    def __enter__(self) -> Self:
        try:
            self._tar = tarfile.open(self._file, "r:")
        except (OSError, tarfile.TarError) as error:
            raise self._error(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    @property
    def root(self) -> Descriptor:
        """The image's manifest, or its list of them."""
        document = self._document("index.json")
        try:
            entries = document["manifests"]
            named = [one for one in entries if _full_name(one) == self._name]
            (entry,) = named or entries
            return _descriptor(entry)
        except (KeyError, TypeError, ValueError) as error:
            raise self._error(error) from error

    def manifests(self) -> Iterator[Descriptor]:
        """All of them; a list comes after what it names, as registries want it."""
        yield from self._below(self.root)

    def blobs(self, manifest: Descriptor) -> list[Descriptor]:
        """The configuration and the layers; none for a list of manifests."""
        if manifest.is_index:
            return []
        document = self._document(manifest.member)
        try:
            entries = [document["config"], *document["layers"]]
            return [_descriptor(entry) for entry in entries]
        except (KeyError, TypeError, ValueError) as error:
            raise self._error(error) from error

    def content(self, document: Descriptor) -> bytes:
        """A manifest, as it is."""
        return self._read(document.member)

    def open(self, blob: Descriptor) -> IO[bytes]:
        """A blob, to be read from its begin."""
        return self._open(blob.member)

    def platforms(self) -> frozenset[Platform]:
        """What the image runs on."""
        found = set()
        for manifest in self.manifests():
            if manifest.is_index:
                continue
            config = self._document(self.blobs(manifest)[0].member)
            if config.get("architecture"):  # attestations of builders have none
                found.add(Platform(str(config.get("os")), str(config["architecture"])))
        return frozenset(found - {Platform("unknown", "unknown")})

    def _below(self, entry: Descriptor) -> Iterator[Descriptor]:
        if entry.is_index:
            document = self._document(entry.member)
            for below in document.get("manifests") or ():
                yield from self._below(_descriptor(below))
        yield entry

    def _document(self, member: str) -> Mapping[str, Any]:
        try:
            document = json.loads(self._read(member))
        except ValueError as error:
            raise self._error(error) from error
        if not isinstance(document, dict):
            raise self._error(ValueError(f"{member} is no JSON object"))
        return document

    def _read(self, member: str) -> bytes:
        with self._open(member) as stream:
            content = stream.read(_MAX_DOCUMENT_BYTES + 1)
        if len(content) > _MAX_DOCUMENT_BYTES:
            raise self._error(ValueError(f"{member} is larger than a manifest may be"))
        return content

    def _open(self, member: str) -> IO[bytes]:
        try:
            stream = self._tar.extractfile(member)
        except (KeyError, OSError, tarfile.TarError) as error:
            raise self._error(error) from error
        if stream is None:
            raise self._error(ValueError(f"{member} is no file"))
        return stream

    def _error(self, error: Exception) -> CliError:
        return CliError(
            f"{self._file} is no OCI archive with the image {self._name}: "
            f"{type(error).__name__}: {error}",
            _AGAIN,
        )


def _full_name(entry: Mapping[str, Any]) -> str:
    return str((entry.get("annotations") or {}).get(CONTAINERD_NAME) or "")


def _descriptor(entry: Mapping[str, Any]) -> Descriptor:
    return Descriptor(str(entry["mediaType"]), str(entry["digest"]), int(entry["size"]))
