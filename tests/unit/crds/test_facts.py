"""Every field of every kind is what Dapr's own definition has: type, limits, defaults, the lot.

The facts lie beside the checkout; without them these tests are skipped. What ours has more is
said here by name, and nothing else may differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dapr_common.kube.schema.catalog import CUSTOM_RESOURCES
from dapr_common.kube.schema.resource import CustomResource

FACTS = Path(__file__).parents[4] / "shared" / "reference" / "crds"
WITH_STATUS = {"components", "configurations", "httpendpoints", "resiliencies", "subscriptions"}
VERSIONS = [
    pytest.param(resource, version.name, id=f"{resource.plural}-{version.name}")
    for resource in CUSTOM_RESOURCES
    for version in resource.versions
]

pytestmark = pytest.mark.skipif(not FACTS.is_dir(), reason="facts about Dapr's CRDs are not here")


def facts(resource: CustomResource) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FACTS / f"{resource.plural}.json").read_text())
    return found


def flat(schema: dict[str, Any], path: str = "") -> dict[str, dict[str, Any]]:
    """A schema as the facts write it: path → what is said of it."""
    found: dict[str, dict[str, Any]] = {}
    if path:
        said = set(schema) - {"description", "properties", "required", "items"}
        found[path] = {"type": schema.get("type", "any")}
        found[path] |= {k: schema[k] for k in said - {"additionalProperties"}}
    for name, below in schema.get("properties", {}).items():
        below_path = f"{path}.{name}" if path else name
        found |= flat(below, below_path)
        if name in schema.get("required", ()):
            found[below_path]["required"] = True
    if "items" in schema:
        found |= flat(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        found |= flat(schema["additionalProperties"], f"{path}{{*}}")
    return found


@pytest.mark.parametrize(("resource", "version"), VERSIONS)
def test_every_field(tool: ModuleType, resource: CustomResource, version: str) -> None:
    [theirs] = [each for each in facts(resource)["versions"] if each["name"] == version]
    [ours] = [v for v in tool.definition(resource)["spec"]["versions"] if v["name"] == version]
    schema = ours["schema"]["openAPIV3Schema"]
    found = flat(schema)
    more = {path for path in found if path.split(".")[0] == "status"}
    assert bool(more) == (resource.plural in WITH_STATUS)
    expected = {field.pop("path"): field for field in theirs["fields"]}
    assert {path: said for path, said in found.items() if path not in more} == expected
    assert schema.get("required", []) == theirs["topLevelRequired"] == []
    assert (ours["served"], ours["storage"]) == (theirs["served"], theirs["storage"])


@pytest.mark.parametrize("resource", CUSTOM_RESOURCES, ids=lambda each: each.plural)
def test_names_labels_and_conversion(tool: ModuleType, resource: CustomResource) -> None:
    theirs, ours = facts(resource), tool.definition(resource)
    assert ours["apiVersion"] == theirs["apiVersion"]
    assert ours["metadata"] == {"name": theirs["name"], "labels": theirs["labels"]}
    for key in ("group", "scope", "names", "conversion"):
        assert ours["spec"][key] == theirs[key]
    assert [v["name"] for v in ours["spec"]["versions"]] == [v["name"] for v in theirs["versions"]]


def test_no_kind_is_missing() -> None:
    assert {each.plural for each in CUSTOM_RESOURCES} == {path.stem for path in FACTS.iterdir()}
