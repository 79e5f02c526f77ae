"""The rules that Kubernetes has for schemas, and ours for what ``kubectl explain`` says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from dapr_common.kube.schema.catalog import CUSTOM_RESOURCES
from dapr_common.kube.schema.resource import CustomResource

TYPES = {"string", "integer", "boolean", "object", "array"}
FORMATS = {"date-time", "int32", "int64"}
MOST_CHARACTERS = 90

each_resource = pytest.mark.parametrize("resource", CUSTOM_RESOURCES, ids=lambda each: each.plural)
Schema = dict[str, Any]


def versions(tool: ModuleType, resource: CustomResource) -> list[Any]:
    found: list[Any] = tool.definition(resource)["spec"]["versions"]
    return found


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from nodes(below, f"{path}.{name}")
    for key, sign in (("items", "[]"), ("additionalProperties", "{*}")):
        if key in schema:
            yield from nodes(schema[key], path + sign)


def all_nodes(tool: ModuleType, resource: CustomResource) -> Iterator[tuple[str, Schema]]:
    for version in versions(tool, resource):
        yield from nodes(version["schema"]["openAPIV3Schema"])


@each_resource
def test_schemas_are_structural(tool: ModuleType, resource: CustomResource) -> None:
    for path, node in all_nodes(tool, resource):
        kind, keeps = node.get("type"), "x-kubernetes-preserve-unknown-fields" in node
        assert kind in TYPES or (keeps and kind is None), path
        assert ("items" in node) == (kind == "array"), path
        content = [key for key in ("properties", "additionalProperties") if key in node]
        has_content = kind == "object" and not keeps and path != ".metadata"
        assert len(content) == has_content, path
        assert set(node.get("required", ())) <= set(node.get("properties", {})), path
        assert node.get("format", "int32") in FORMATS, path


@each_resource
def test_nothing_is_said_of_the_metadata(tool: ModuleType, resource: CustomResource) -> None:
    for version in versions(tool, resource):
        root = version["schema"]["openAPIV3Schema"]
        assert root["properties"]["metadata"] == {"type": "object"}


@each_resource
def test_every_field_has_one_line_of_description(
    tool: ModuleType, resource: CustomResource
) -> None:
    for path, node in all_nodes(tool, resource):
        if path == ".metadata" or (path.endswith(("[]", "{*}")) and node["type"] == "string"):
            continue  # Kubernetes' own; what the list or the mapping around it says
        text = node.get("description", "")
        assert re.fullmatch(r"[A-Za-z].*\.", text), (path, text)
        assert len(text) <= MOST_CHARACTERS, (path, text)


@each_resource
def test_columns_lead_somewhere(tool: ModuleType, resource: CustomResource) -> None:
    for version in versions(tool, resource):
        known = dict(nodes(version["schema"]["openAPIV3Schema"]))
        for column in version["additionalPrinterColumns"]:
            path = re.sub(r"\[\?.*?\]", "[]", column["jsonPath"])
            if path != ".metadata.creationTimestamp":
                assert path in known, column
        assert version["additionalPrinterColumns"][-1]["name"] == "Age"


@each_resource
def test_one_version_is_stored(tool: ModuleType, resource: CustomResource) -> None:
    assert [version["storage"] for version in versions(tool, resource)].count(True) == 1


@each_resource
def test_a_status_is_a_subresource(tool: ModuleType, resource: CustomResource) -> None:
    for version in versions(tool, resource):
        fields = version["schema"]["openAPIV3Schema"]["properties"]
        assert ("status" in fields) == (version.get("subresources") == {"status": {}})


@each_resource
def test_lists_merge_by_fields_that_every_item_has(
    tool: ModuleType, resource: CustomResource
) -> None:
    for path, node in all_nodes(tool, resource):
        for key in node.get("x-kubernetes-list-map-keys", ()):
            assert key in node["items"]["required"], path
