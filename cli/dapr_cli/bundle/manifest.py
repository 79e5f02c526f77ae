"""What is in a bundle: versions, the platform it is for, and the SHA-256 of every file."""

from __future__ import annotations

import hashlib
import json
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dapr_cli.errors import CliError

FILE, SUMS, WHEELS, CHART, IMAGES = "bundle.json", "SHA256SUMS", "wheels", "chart", "images"
PRODUCT = "dapr-runtime"
_FORMAT = 1
_OFFICIAL = "details.json"
_CHUNK_BYTES = 1 << 20
_AGAIN = "Copy the archive once more and unpack it again; 'sha256sum -c SHA256SUMS' checks it, too."


@dataclass(frozen=True, slots=True)
class Content:
    """One file; the size is in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A bundle. ``files`` are paths below it; ``images`` are names of images and their files."""

    version: str
    runtime_version: str
    python: str
    """Such as ``3.11``: wheels are of one Python."""
    platform: str
    extras: str
    created: str
    files: Mapping[str, Content]
    images: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """As JSON, and as ``sha256sum`` checks it."""
        body = {"format": _FORMAT, **asdict(self)}
        (folder / FILE).write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
        lines = [f"{content.sha256}  {name}\n" for name, content in self.files.items()]
        (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def this_python() -> str:
    """The version that wheels are named after."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def this_platform() -> str:
    """Such as ``linux-x86_64``."""
    return sysconfig.get_platform()


def contents(folder: Path) -> dict[str, Content]:
    """Every file below a folder."""
    return {
        str(PurePosixPath(path.relative_to(folder))): content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def content(file: Path) -> Content:
    """What a file holds."""
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return Content(digest.hexdigest(), size)


def read(folder: Path) -> Manifest:
    """The manifest of an unpacked bundle. Raises ``CliError``."""
    if folder.is_file():
        raise CliError(
            f"{folder} is a file, not a directory",
            f"Unpack it first: tar -xzf {folder}; then name the directory it made.",
        )
    file = folder / FILE
    if not file.is_file():
        official = (folder / _OFFICIAL).is_file()
        what = "a bundle of the official CLI" if official else "no bundle"
        raise CliError(
            f"{folder} is {what}: {FILE} is missing",
            "'dapr bundle create' makes a bundle on a machine with a network.",
        )
    try:
        return _manifest(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CliError(f"{file} cannot be read: {type(error).__name__}: {error}", _AGAIN) from error


def verify(folder: Path, manifest: Manifest, tell: Callable[[str], None]) -> None:
    """Every file is there as it was, and no other wheel. Raises ``CliError`` naming the first.

    ``tell`` hears how far it is.
    """
    total = sum(one.size for one in manifest.files.values())
    tell(f"Checking {len(manifest.files)} files, {megabytes(total)}")
    for name, wanted in manifest.files.items():
        file = folder / name
        if not file.is_file():
            raise CliError(f"the bundle is not whole: {file} is missing", _AGAIN)
        if (found := content(file)) != wanted:
            raise CliError(
                f"{file} is damaged or was changed: its SHA-256 is {found.sha256}, the bundle says "
                f"{wanted.sha256}",
                _AGAIN,
            )
    for directory in (WHEELS, CHART):
        for path in sorted((folder / directory).rglob("*")):
            if path.is_file() and path.relative_to(folder).as_posix() not in manifest.files:
                raise CliError(f"{path} is not of this bundle", "Remove it, or unpack it again.")


def require_this_machine(manifest: Manifest) -> None:
    """Raise ``CliError`` unless the wheels are for this Python and platform."""
    if (manifest.python, manifest.platform) != (this_python(), this_platform()):
        raise CliError(
            f"the bundle is for Python {manifest.python} on {manifest.platform}, this is Python "
            f"{this_python()} on {this_platform()}",
            "Make a bundle on a machine with the same Python and platform as this one.",
        )


def megabytes(size: int) -> str:
    """A size as people read it."""
    return f"{size / 1e6:.1f} MB"


def _manifest(body: Any) -> Manifest:
    if body["format"] != _FORMAT:
        raise ValueError(f"format {body['format']}, this CLI knows {_FORMAT}")
    files = {
        _inside(name): Content(str(one["sha256"]), int(one["size"]))
        for name, one in body["files"].items()
    }
    images = {str(name): _inside(file) for name, file in body["images"].items()}
    if unchecked := [file for file in images.values() if file not in files]:
        raise ValueError(f"there is no SHA-256 of {unchecked[0]}")
    texts = ("version", "runtime_version", "python", "platform", "extras", "created")
    return Manifest(
        **{name: str(body[name]) for name in texts},
        files=files,
        images=images,
    )


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"the path {name} leads out of the bundle")
    return name
