"""Manifests written for Dapr, put into a real cluster: all is kept, nothing is warned of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dapr_common.kube.manifests import split_documents
from dapr_common.kube.yaml_text import load_yaml

from .conftest import APPLY, FOLDER, YAML, Cluster, collection, path_of

MANIFESTS = Path(__file__).parents[2] / "data" / "manifests"


@dataclass(frozen=True)
class Sample:
    name: str
    text: str

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = load_yaml(self.text)
        return found


def samples(pattern: str) -> list[Any]:
    found = [
        Sample(f"{path.stem}-{number}", text)
        for path in sorted(MANIFESTS.glob(pattern))
        for number, text in enumerate(split_documents(path.read_text()), start=1)
    ]
    return [pytest.param(sample, id=sample.name) for sample in found]


def has_all(found: Any, wanted: Any) -> bool:
    """Whether what was written is still there; the server may have added to objects."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            name in found and has_all(found[name], below) for name, below in wanted.items()
        )
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(has_all, found, wanted))
    return bool(found == wanted and type(found) is type(wanted))


@pytest.mark.parametrize("sample", samples("[!s]*.yaml") + samples("subscriptions.yaml"))
def test_all_of_it_is_kept(cluster: Cluster, sample: Sample) -> None:
    where = path_of(sample.body)
    made = cluster.call(
        "POST", collection(sample.body), sample.text, content_type=YAML, fieldValidation="Strict"
    )
    assert (made.status, made.warnings) == (201, []), made
    assert has_all(cluster.call("GET", where).body, sample.body)
    assert cluster.call("DELETE", where).status == 200
    applied = cluster.call(
        "PATCH",
        where,
        sample.text,
        content_type=APPLY,
        fieldManager="kubectl",
        fieldValidation="Strict",
    )
    assert (applied.status, applied.warnings) == (201, []), applied
    assert has_all(cluster.call("GET", where).body, sample.body)
    assert cluster.call("DELETE", where).status == 200


@pytest.fixture(scope="module")
def unconverted(cluster: Cluster) -> str:
    """The old version of Subscription as a kind of its own, which needs no conversion."""
    definition = yaml.safe_load((FOLDER / "subscriptions.yaml").read_text())
    spec = definition["spec"]
    group = f"old.{spec['group']}"
    [old] = [version for version in spec["versions"] if version["name"] == "v1alpha1"]
    definition["metadata"]["name"] = f"subscriptions.{group}"
    spec |= {
        "group": group,
        "conversion": {"strategy": "None"},
        "versions": [old | {"storage": True}],
    }
    cluster.install(yaml.safe_dump(definition))
    return f"{group}/v1alpha1"


@pytest.mark.parametrize("sample", samples("subscriptions-v1alpha1.yaml"))
def test_the_old_subscription_without_conversion(
    cluster: Cluster, unconverted: str, sample: Sample
) -> None:
    body = sample.body | {"apiVersion": unconverted}
    made = cluster.call("POST", collection(body), body, fieldValidation="Strict")
    assert (made.status, made.warnings) == (201, []), made
    assert has_all(cluster.call("GET", path_of(body)).body, body)


def test_a_field_that_nobody_knows_is_named(cluster: Cluster) -> None:
    body = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": "typo"},
        "spec": {"type": "state.redis", "version": "v1", "metadata": [], "initTimeOut": "5s"},
    }
    refused = cluster.call("POST", collection(body), body, fieldValidation="Strict")
    assert refused.status == 400
    assert 'unknown field "spec.initTimeOut"' in refused.message
    warned = cluster.call("POST", collection(body), body, fieldValidation="Warn", dryRun="All")
    assert warned.status == 201
    assert warned.warnings == [r'299 - "unknown field \"spec.initTimeOut\""']
