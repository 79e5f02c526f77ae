"""Manifests, from files or from a cluster, as facts without secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dapr_cli.manifest_files import manifest_files
from dapr_common.kube.manifests import Document, ManifestError, parse_documents, typed
from dapr_common.kube.resources import Component, NameValue
from dapr_dashboard import masking
from dapr_dashboard.masking import Shown
from dapr_dashboard.model import ComponentFact, Condition, Resources, SpecFact
from dapr_dashboard.sources.processes import HERE

_MOST_BYTES = 1 << 20
_MOST_FILES = 500


def from_files(folders: Iterable[str], configurations: Iterable[str]) -> Resources:
    """What lies in resource folders, and in files of Configurations."""
    found = _Found()
    for path in _files(folders):
        found.read(path)
    for name in dict.fromkeys(configurations):
        if name not in found.seen:
            found.read(Path(name))
    return found.resources()


def from_bodies(bodies: Iterable[Mapping[str, Any]]) -> Resources:
    """Objects of a cluster."""
    found = _Found()
    for body in bodies:
        found.add(Document(body, ""), "")
    return found.resources()


def _files(folders: Iterable[str]) -> list[Path]:
    found: list[Path] = []
    for folder in dict.fromkeys(folders):
        try:
            found += manifest_files(Path(folder))
        except OSError:
            continue
    return found[:_MOST_FILES]


class _Found:
    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._components: list[ComponentFact] = []
        self._specs: dict[str, list[SpecFact]] = {"Configuration": [], "Resiliency": []}

    def resources(self) -> Resources:
        return Resources(
            components=sorted(self._components, key=lambda one: (one.namespace, one.name)),
            configurations=self._specs["Configuration"],
            resiliencies=self._specs["Resiliency"],
        )

    def read(self, path: Path) -> None:
        """A file; one that cannot be read is shown as a component with a problem."""
        source = str(path)
        self.seen.add(source)
        try:
            status = path.stat()
            if status.st_size > _MOST_BYTES:
                raise ManifestError(f"{source} is larger than {_MOST_BYTES >> 10} KiB")
            documents = list(parse_documents(path.read_text(encoding="utf-8"), source))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            self._problem(source, str(error))
            return
        for document in documents:
            if isinstance(document, ManifestError):
                # What a parser says may quote the line, and the line may be a secret.
                self._problem(source, f"not valid YAML: {_place(document)}")
            else:
                self.add(document, source, datetime.fromtimestamp(status.st_mtime, UTC))

    def add(self, document: Document, source: str, written: datetime | None = None) -> None:
        """``written`` is when the file was, which is the age of what is in it."""
        kind = document.key[1]
        try:
            resource = typed(document) if kind == "Component" else None
        except ManifestError as error:
            self._problem(source or _name(document.body), masking.text(str(error)))
            return
        if isinstance(resource, Component):
            self._components.append(_component(resource, document.body, source, written))
        elif kind in self._specs:
            self._specs[kind].append(_spec(document.body, source, written))

    def _problem(self, source: str, problem: str) -> None:
        name = source.rpartition("/")[2]
        self._components.append(
            ComponentFact(
                namespace=HERE, name=name, type="", version="", source=source, problem=problem
            )
        )


def _component(
    component: Component, body: Mapping[str, Any], source: str, written: datetime | None
) -> ComponentFact:
    settings = masking.settings_of(component)
    return ComponentFact(
        namespace=component.namespace or HERE,
        name=component.name,
        type=component.type,
        version=component.version,
        scopes=component.scopes,
        settings=settings,
        source=source,
        created=_created(body) or written,
        conditions=_conditions(body),
        manifest=_manifest(component, settings, body),
    )


def _manifest(
    component: Component, settings: Sequence[Shown], body: Mapping[str, Any]
) -> Mapping[str, Any]:
    entries = [
        _entry(entry, shown) for entry, shown in zip(component.metadata, settings, strict=True)
    ]
    found = masking.document(body)
    return {**found, "spec": {**found["spec"], "metadata": entries}}


def _entry(entry: NameValue, shown: Shown) -> Mapping[str, Any]:
    if (reference := entry.secret_key_ref) is not None:
        key = {"key": reference.key} if reference.key else {}
        return {"name": entry.name, "secretKeyRef": {"name": reference.name, **key}}
    if entry.env_ref:
        return {"name": entry.name, "envRef": entry.env_ref}
    return {"name": entry.name, "value": shown.text}


def _spec(body: Mapping[str, Any], source: str, written: datetime | None) -> SpecFact:
    manifest = masking.document(body)
    spec = manifest.get("spec")
    metadata = _metadata(body)
    return SpecFact(
        namespace=str(metadata.get("namespace") or HERE),
        name=str(metadata.get("name") or ""),
        spec=spec if isinstance(spec, Mapping) else {},
        source=source,
        created=_created(body) or written,
        conditions=_conditions(body),
        manifest=manifest,
    )


def _metadata(body: Mapping[str, Any]) -> Mapping[str, Any]:
    found = body.get("metadata")
    return found if isinstance(found, Mapping) else {}


def _name(body: Mapping[str, Any]) -> str:
    return str(_metadata(body).get("name") or "")


def _created(body: Mapping[str, Any]) -> datetime | None:
    text = _metadata(body).get("creationTimestamp")
    try:
        return datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None


def _conditions(body: Mapping[str, Any]) -> Sequence[Condition]:
    status = body.get("status")
    found = status.get("conditions") if isinstance(status, Mapping) else None
    return tuple(
        Condition(
            type=str(each.get("type") or ""),
            status=str(each.get("status") or ""),
            reason=str(each.get("reason") or ""),
            message=masking.text(str(each.get("message") or "")),
        )
        for each in found or ()
        if isinstance(each, Mapping)
    )


def _place(error: ManifestError) -> str:
    """The line and column of a parser's message, without what it quotes."""
    words = str(error).split()
    if "line" in words[:-1]:
        at = len(words) - 1 - words[::-1].index("line")
        return " ".join(words[at : at + 4]).rstrip(":,")
    return "the document cannot be parsed"
