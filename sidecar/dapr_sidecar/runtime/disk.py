"""Resources from directories: read, filter by namespace and scope, refuse duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dapr_common.kube.manifests import ManifestError, Resource, parse_documents, typed
from dapr_common.kube.resources import (
    Component,
    Configuration,
    HttpEndpoint,
    Resiliency,
    Subscription,
)
from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.runtime.loader.disk")
_SUFFIXES = frozenset({".yaml", ".yml"})
_MAX_FILE_BYTES = 64 << 20
_Scoped = Component | HttpEndpoint | Resiliency | Subscription


class DuplicateResourceError(ValueError):
    """Two in-scope resources of one kind and name."""


@dataclass(slots=True)
class Resources:
    """What this sidecar is to load, in file order."""

    components: list[Component] = field(default_factory=list)
    subscriptions: list[Subscription] = field(default_factory=list)
    http_endpoints: list[HttpEndpoint] = field(default_factory=list)
    resiliencies: list[Resiliency] = field(default_factory=list)
    configurations: list[Configuration] = field(default_factory=list)


class ResourceDirectories:
    """Directories read again and again.

    A file that could be read whole and now cannot keeps standing for what it held: a half-written
    or mistyped file takes nothing away that works.
    """

    def __init__(self, paths: Sequence[str], app_id: str, namespace: str) -> None:
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
                _add(found, resource, self._app_id, self._namespace)
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
            else:
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
    return file.read_text(encoding="utf-8")


def _add(found: Resources, resource: Resource, app_id: str, namespace: str) -> None:
    if isinstance(resource, Configuration):
        found.configurations.append(resource)
        return
    if resource.scopes and app_id not in resource.scopes:
        return
    if namespace and resource.namespace and resource.namespace != namespace:
        return
    if isinstance(resource, Component):
        _refuse_duplicate(found.components, resource, "Component")
        found.components.append(resource)
    elif isinstance(resource, HttpEndpoint):
        _refuse_duplicate(found.http_endpoints, resource, "HTTPEndpoint")
        found.http_endpoints.append(resource)
    elif isinstance(resource, Subscription):
        _refuse_duplicate(found.subscriptions, resource, "Subscription")
        found.subscriptions.append(resource)
    else:
        _refuse_duplicate(found.resiliencies, resource, "Resiliency")
        found.resiliencies.append(resource)


def _refuse_duplicate(existing: Sequence[_Scoped], resource: _Scoped, kind: str) -> None:
    for other in existing:
        if resource.name and other.name == resource.name:
            raise DuplicateResourceError(
                f"duplicate definition of {kind} name {_shown(resource)} "
                f"with existing {_shown(other)}"
            )


def _shown(resource: _Scoped) -> str:
    return resource.log_name if isinstance(resource, Component) else resource.name
