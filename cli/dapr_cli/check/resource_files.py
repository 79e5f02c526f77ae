"""Configuration and resource files: what admission in a cluster would refuse, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dapr_cli.check.findings import Finding
from dapr_cli.manifest_files import manifest_files
from dapr_common.kube.manifests import ManifestError, parse_documents, typed
from dapr_common.kube.validation.objects import validate

_AREA = "resources"
_FIX = "Correct this field in the file; running sidecars read it again, or at their next start."
_UNUSED = "Correct the file, or take it out of the directory."


def check_files(config: Path | None, directories: Iterable[Path]) -> Iterator[Finding]:
    """Every manifest of the directories, and a Configuration."""
    names: dict[tuple[str, str, str], Path] = {}
    if config is not None and config.is_file():
        yield from _file(config, {})
    for directory in dict.fromkeys(directories):
        if not directory.is_dir():
            fix = "Make the directory, or name another one: --resources-path DIR"
            yield Finding("error", _AREA, str(directory), "is not a directory", fix)
            continue
        for file in manifest_files(directory):
            yield from _file(file, names)


def _file(file: Path, names: dict[tuple[str, str, str], Path]) -> Iterator[Finding]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        yield Finding("error", _AREA, str(file), f"cannot be read: {why}", _UNUSED)
        return
    for document in parse_documents(text, str(file)):
        if isinstance(document, ManifestError):
            problem = str(document).removeprefix(f"{file} ")
            yield Finding("error", _AREA, str(file), problem, _UNUSED)
            continue
        found = list(_object(file, document.body))
        yield from found
        if not any(one.severity == "error" for one in found):
            try:
                typed(document)  # what only the sidecar's own reading finds
            except ManifestError as error:
                problem = str(error).removeprefix(f"{file} ")
                yield Finding("error", _AREA, str(file), problem, _FIX)
        yield from _doubled(file, document.body, names)


def _object(file: Path, body: Mapping[str, Any]) -> Iterator[Finding]:
    subject = f"{file} ({body.get('kind')} {_metadata(body, 'name')})"
    for problem in validate(body):
        yield Finding(problem.severity, _AREA, subject, str(problem), _FIX)


def _doubled(
    file: Path, body: Mapping[str, Any], names: dict[tuple[str, str, str], Path]
) -> Iterator[Finding]:
    kind, name = str(body.get("kind")), _metadata(body, "name")
    if kind != "Component" or not name:
        return
    first = names.setdefault((kind, name, _metadata(body, "namespace")), file)
    if first != file:
        text = f"component {name} is in {first.name}, too: only one of them can be used"
        yield Finding("error", _AREA, str(file), text, "Give one of them another metadata.name.")


def _metadata(body: Mapping[str, Any], name: str) -> str:
    metadata = body.get("metadata")
    return str(metadata.get(name) or "") if isinstance(metadata, Mapping) else ""
