"""Push the images of a bundle to a registry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from dapr_cli.bundle.archives import Archive, Descriptor
from dapr_cli.bundle.image_names import ImageName, Place
from dapr_cli.bundle.manifest import Manifest, megabytes
from dapr_cli.bundle.registry import Access, Registry
from dapr_cli.console import Console
from dapr_cli.errors import CliError

SECONDS = 1800
"""How long one image may take."""

_CHUNK_BYTES = 1 << 20
_TOLD_EVERY_SECONDS = 5.0
_GOES_ON = "What was pushed stays there: the same command goes on with the rest."


async def push(
    folder: Path,
    manifest: Manifest,
    place: Place,
    access: Access,
    console: Console,
    seconds: float = SECONDS,
) -> None:
    """Every image, as ``place/program:tag``. Raises ``CliError``."""
    images = targets(manifest)
    async with Registry(place, access) as registry:
        pushing = _Pushing(registry, place, console)
        for name, file in images.items():
            try:
                async with asyncio.timeout(seconds):
                    await pushing.image(name, folder / file)
            except TimeoutError as error:
                raise CliError(
                    f"{name} was not pushed to {place} within {seconds:g} s", _GOES_ON
                ) from error
            except CliError as error:
                raise CliError(error.message, error.hint or _GOES_ON) from error


def targets(manifest: Manifest) -> dict[ImageName, str]:
    """Images and their files; two that would get one name are a ``CliError``."""
    found: dict[ImageName, str] = {}
    ends: dict[tuple[str, str], ImageName] = {}
    for text, file in manifest.images.items():
        try:
            name = ImageName.parse(text)
        except ValueError as error:
            raise CliError(f"the bundle's images cannot be pushed: {error}") from error
        other = ends.setdefault((name.program, name.tag), name)
        if other is not name:
            raise CliError(
                f"{other} and {name} would have the same name in the registry",
                "Make the bundle again with one of them.",
            )
        found[name] = file
    return found


class _Pushing:
    """Knows where in the registry blobs are, so that what images share is sent once."""

    def __init__(self, registry: Registry, place: Place, console: Console) -> None:
        self._registry = registry
        self._place = place
        self._console = console
        self._homes: dict[str, str] = {}

    async def image(self, name: ImageName, file: Path) -> None:
        repository = self._place.repository(name.program)
        shown = f"{self._place}/{name.program}:{name.tag}"
        with Archive(file, str(name)) as archive:
            root = archive.root
            there = await self._registry.digest_of(repository, name.tag, root.media_type)
            if there == root.digest:
                self._console.success(f"{shown} is there already")
                for manifest in archive.manifests():
                    self._homes.update((b.digest, repository) for b in archive.blobs(manifest))
                return
            self._console.pending(f"Pushing {shown}")
            sent = 0
            for manifest in archive.manifests():
                for blob in archive.blobs(manifest):
                    sent += await self._blob(archive, repository, blob, name.program)
                tag = name.tag if manifest == root else manifest.digest
                await self._registry.put_manifest(
                    repository, tag, manifest.media_type, archive.content(manifest)
                )
        self._console.success(f"{shown} is pushed, {megabytes(sent)} sent: {root.digest}")

    async def _blob(self, archive: Archive, repository: str, blob: Descriptor, program: str) -> int:
        """Have it there; how many bytes that took."""
        source = self._homes.setdefault(blob.digest, repository)
        if await self._registry.has(repository, blob):
            return 0
        other = source if source != repository else ""
        if (target := await self._registry.begin(repository, blob, other)) is None:
            return 0

        async def body() -> AsyncIterator[bytes]:
            progress = _Progress(self._console, program, blob.size)
            with archive.open(blob) as stream:
                while chunk := await asyncio.to_thread(stream.read, _CHUNK_BYTES):
                    yield chunk
                    progress.add(len(chunk))

        await self._registry.upload(repository, target, blob, body)
        return blob.size


class _Progress:
    """Says every few seconds how far a blob is."""

    def __init__(self, console: Console, program: str, size: int) -> None:
        self._console = console
        self._program = program
        self._size = size
        self._sent = 0
        self._told = time.monotonic()

    def add(self, count: int) -> None:
        self._sent += count
        now = time.monotonic()
        if now - self._told >= _TOLD_EVERY_SECONDS:
            self._told = now
            self._console.pending(
                f"{self._program}: {megabytes(self._sent)} of {megabytes(self._size)}"
            )
