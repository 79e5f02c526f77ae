"""The sample manifests: together they have every field there is, and the sidecar reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dapr_common.kube.manifests import KINDS, Document, ManifestError, parse_documents, typed
from dapr_common.kube.schema.catalog import CUSTOM_RESOURCES
from dapr_common.kube.schema.fields import Field
from dapr_common.kube.schema.resource import GROUP, CustomResource, Version

FOLDER = Path(__file__).parents[2] / "data" / "manifests"


def documents() -> list[Document]:
    found: list[Document] = []
    for path in sorted(FOLDER.glob("*.yaml")):
        for document in parse_documents(path.read_text(), path.name):
            assert not isinstance(document, ManifestError), document
            found.append(document)
    return found


DOCUMENTS = documents()
VERSIONS = [
    pytest.param(resource, version, id=f"{resource.kind}-{version.name}")
    for resource in CUSTOM_RESOURCES
    for version in resource.versions
]


def described(field: Field, path: str = "") -> Iterator[str]:
    yield path
    for name, below in field.fields.items():
        yield from described(below, f"{path}.{name}")
    for below, sign in ((field.items, "[]"), (field.values, "{*}")):
        if below is not None:
            yield from described(below, path + sign)


def used(field: Field, value: object, path: str = "") -> Iterator[str]:
    yield path
    if isinstance(value, list) and field.items is not None:
        for item in value:
            yield from used(field.items, item, f"{path}[]")
    if isinstance(value, dict):
        for name, below in value.items():
            if field.values is not None:
                yield from used(field.values, below, f"{path}{{*}}")
            elif not field.keeps_unknown:
                yield from used(field.fields[name], below, f"{path}.{name}")


@pytest.mark.parametrize(("resource", "version"), VERSIONS)
def test_every_field_is_used(resource: CustomResource, version: Version) -> None:
    key = (f"{GROUP}/{version.name}", resource.kind)
    bodies = [document.body for document in DOCUMENTS if document.key == key]
    for name in version.fields.keys() - {"metadata", "status"}:
        field = version.fields[name]
        found = {path for body in bodies if name in body for path in used(field, body[name])}
        assert found == set(described(field)), name


@pytest.mark.parametrize(
    "document",
    [document for document in DOCUMENTS if document.key in KINDS],
    ids=lambda each: f"{each.source}-{each.number}",
)
def test_the_sidecar_reads_it(document: Document) -> None:
    resource = typed(document)
    assert resource is not None
    assert resource.name == document.body["metadata"]["name"]
