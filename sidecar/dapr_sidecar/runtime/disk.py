"""Resources from directories: read whole again and again, and followed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from dapr_common.aio.watch import watching
from dapr_common.kube.manifests import ManifestError, Resource, parse_documents, typed
from dapr_common.kube.resources import Configuration
from dapr_common.observe.logs import get_logger
from dapr_sidecar.runtime.configuration import ConfigurationError, load_files
from dapr_sidecar.runtime.resources import Resources, SourceError

_LOG = get_logger("dapr.runtime.loader.disk")
_SUFFIXES = frozenset({".yaml", ".yml"})
_MAX_FILE_BYTES = 64 << 20
_SETTLE_SECONDS = 0.005


class DiskSource:
    """Directories of manifests, and the files of the active Configuration.

    Those files are read again when the Configuration of that name changes among the manifests.
    """

    def __init__(
        self,
        directories: ResourceDirectories,
        configuration: Configuration,
        files: Sequence[str],
        environment: Mapping[str, str],
        interval: float,
    ) -> None:
        """``configuration`` is what the files hold now; ``interval`` is in seconds."""
        self._directories = directories
        self._configuration = configuration
        self._files = files
        self._environment = environment
        self._interval = interval
        self._relevant: list[Configuration] | None = None

    def read(self) -> Resources:
        """Read everything. Raises ``SourceError``."""
        try:
            found = self._directories.read()
        except OSError as error:
            raise SourceError(f"{error.strerror}: {error.filename}") from error
        relevant = [one for one in found.configurations if one.name == self._configuration.name]
        if self._relevant is not None and relevant != self._relevant:
            self._read_files()
        self._relevant = relevant
        found.configuration = self._configuration
        return found

    def _read_files(self) -> None:
        try:
            self._configuration = load_files(self._files, self._environment)
        except ConfigurationError as error:
            _LOG.error("the running configuration stays: %s", error)

    async def follow(self, changed: asyncio.Event) -> None:
        """Notice changes; a full read now and then backs that up."""
        events = asyncio.Event()
        with watching(events, _LOG) as follow:
            follow(self._directories.paths)
            changed.set()  # what changed between the first read and this moment
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._interval):
                        await events.wait()
                await asyncio.sleep(_SETTLE_SECONDS)
                events.clear()
                follow(self._directories.paths)
                changed.set()


class ResourceDirectories:
    """Directories read again and again.

    A file that could be read whole and now cannot keeps standing for what it held: a half-written
    or mistyped file takes nothing away that works.
    """

    def __init__(
        self, paths: Sequence[str], app_id: str, namespace: str, *, expected: Container[str] = ()
    ) -> None:
        """``expected`` are suffixes of other files that may be there, such as ``.py``."""
        self._expected = expected
        self.paths = tuple(paths)
        self._paths = [Path(path) for path in paths]
        self._app_id = app_id
        self._namespace = namespace
        self._whole: dict[Path, list[Resource]] = {}
        self._said: set[str] = set()
        self._saying: set[str] = set()

    def read(self) -> Resources:
        """Every resource meant for this app. Raises ``OSError`` or ``DuplicateResourceError``."""
        found = Resources()
        self._saying = set()
        files = [file for path in self._paths for file in self._files(path)]
        for gone in self._whole.keys() - set(files):
            del self._whole[gone]
        for file in files:
            for resource in self._read(file):
                found.add(resource, self._app_id, self._namespace)
        self._said = self._saying
        return found

    def _read(self, file: Path) -> list[Resource]:
        resources, faults = _parse(file)
        for fault in faults:
            self._say(str(fault))
        if not faults:
            self._whole[file] = resources
        elif file in self._whole:
            self._say(f"File {file.name} cannot be read whole, what it held before stays")
            return self._whole[file]
        return resources

    def _files(self, directory: Path) -> list[Path]:
        files: list[Path] = []
        for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
            if entry.is_dir():
                continue
            if entry.suffix.lower() in _SUFFIXES:
                files.append(entry)
            elif entry.suffix not in self._expected:
                self._say(
                    f"A non-YAML Component file {entry.name} was detected, it will not be loaded"
                )
        return files

    def _say(self, text: str) -> None:
        """Warn, but not again at every read for what stays as it is."""
        if text not in self._said and text not in self._saying:
            _LOG.warning("%s", text)
        self._saying.add(text)


def _parse(file: Path) -> tuple[list[Resource], list[ManifestError]]:
    try:
        text = _text(file)
    except (OSError, ValueError) as error:
        return [], [ManifestError(f"File {file.name} cannot be read: {error}")]
    resources: list[Resource] = []
    faults: list[ManifestError] = []
    for document in parse_documents(text, file.name):
        if isinstance(document, ManifestError):
            faults.append(document)
            continue
        try:
            resource = typed(document)
        except ManifestError as error:
            faults.append(error)
            continue
        if resource is not None:
            resources.append(resource)
    return resources, faults


def _text(file: Path) -> str:
    if not file.is_file():
        raise ValueError("it is no regular file")  # reading a pipe would wait for ever
    if file.stat().st_size > _MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {_MAX_FILE_BYTES >> 20} MiB")
    # A document with bytes that are no UTF-8 is refused when it is parsed, and only that one.
    return file.read_text(encoding="utf-8", errors="surrogateescape")
