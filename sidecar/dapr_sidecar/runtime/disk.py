"""Resources from directories: read, filter by namespace and scope, refuse duplicates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def read_directories(paths: Sequence[str], app_id: str, namespace: str) -> Resources:
    """Read every resource meant for this app. Raises ``OSError`` or ``DuplicateResourceError``."""
    found = Resources()
    for path in paths:
        for file in _files(Path(path)):
            for resource in _read(file):
                _add(found, resource, app_id, namespace)
    return found


def _files(directory: Path) -> list[Path]:
    entries = sorted(directory.iterdir(), key=lambda entry: entry.name)
    files: list[Path] = []
    for entry in entries:
        if entry.is_dir():
            continue
        if entry.suffix.lower() in _SUFFIXES:
            files.append(entry)
        else:
            _LOG.warning(
                "A non-YAML Component file %s was detected, it will not be loaded", entry.name
            )
    return files


def _read(file: Path) -> Iterable[Resource]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        _LOG.warning("File %s cannot be read: %s", file.name, error)
        return
    for document in parse_documents(text, file.name):
        if isinstance(document, ManifestError):
            _LOG.warning("%s", document)
            continue
        try:
            resource = typed(document)
        except ManifestError as error:
            _LOG.warning("%s", error)
            continue
        if resource is not None:
            yield resource


def _add(found: Resources, resource: Resource, app_id: str, namespace: str) -> None:
    if isinstance(resource, Configuration):
        found.configurations.append(resource)
        return
    if resource.scopes and app_id not in resource.scopes:
        return
    if isinstance(resource, (Component, HttpEndpoint)) and (
        namespace and resource.namespace and resource.namespace != namespace
    ):
        return
    if isinstance(resource, Component):
        _refuse_duplicate(found.components, resource, "Component", resource.log_name)
        found.components.append(resource)
    elif isinstance(resource, HttpEndpoint):
        _refuse_duplicate(found.http_endpoints, resource, "HTTPEndpoint", resource.name)
        found.http_endpoints.append(resource)
    elif isinstance(resource, Subscription):
        found.subscriptions.append(resource)
    else:
        found.resiliencies.append(resource)


def _refuse_duplicate(
    existing: Sequence[Component] | Sequence[HttpEndpoint],
    resource: Component | HttpEndpoint,
    kind: str,
    shown: str,
) -> None:
    for other in existing:
        if other.name == resource.name:
            other_shown = other.log_name if isinstance(other, Component) else other.name
            raise DuplicateResourceError(
                f"duplicate definition of {kind} name {shown} with existing {other_shown}"
            )
