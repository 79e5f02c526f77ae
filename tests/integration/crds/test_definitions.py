"""The definitions themselves in a real cluster: accepted, served, explained, open to change."""

from __future__ import annotations

import base64
from copy import deepcopy
from pathlib import Path

import pytest
import trustme
import yaml

from .conftest import DEFINITIONS, FOLDER, JSON_PATCH, MERGE_PATCH, Answer, Cluster, path_of

FILES = sorted(FOLDER.glob("*.yaml"))


def conditions(answer: Answer) -> dict[str, str]:
    return {entry["type"]: entry["status"] for entry in answer.body["status"]["conditions"]}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_it_is_established_and_structural(cluster: Cluster, file: Path) -> None:
    found = cluster.call("GET", f"{DEFINITIONS}/{file.stem}.dapr.io")
    assert conditions(found) == {"NamesAccepted": "True", "Established": "True"}


def test_what_kubectl_explains(cluster: Cluster) -> None:
    schema = "io.dapr.v1alpha1.Component"
    answer = cluster.until(
        "/openapi/v3/apis/dapr.io/v1alpha1",
        lambda answer: schema in answer.body.get("components", {}).get("schemas", {}),
    )
    component = answer.body["components"]["schemas"][schema]
    assert component["description"].startswith("A building block's implementation")
    spec = component["properties"]["spec"]["properties"]
    assert spec["initTimeout"]["description"] == (
        "How long loading may take, as a Go duration; 5s when empty."
    )
    assert component["properties"]["metadata"]["description"]  # Kubernetes' own


def test_the_operator_puts_its_namespace_and_authority_in(cluster: Cluster) -> None:
    where = f"{DEFINITIONS}/subscriptions.dapr.io"
    service = {"name": "dapr-webhook", "namespace": "replaceme", "path": "/convert", "port": 443}
    client = cluster.call("GET", where).body["spec"]["conversion"]["webhook"]["clientConfig"]
    assert client == {"service": service}
    authority = base64.b64encode(trustme.CA().cert_pem.bytes()).decode()
    into = "/spec/conversion/webhook/clientConfig"
    patch = [
        {"op": "replace", "path": f"{into}/service/namespace", "value": "dapr-system"},
        {"op": "replace", "path": f"{into}/caBundle", "value": authority},
    ]
    patched = cluster.call("PATCH", where, patch, content_type=JSON_PATCH)
    assert (patched.status, patched.warnings) == (200, [])
    client = patched.body["spec"]["conversion"]["webhook"]["clientConfig"]
    assert client["service"] == service | {"namespace": "dapr-system"}
    assert client["caBundle"] == authority


def test_a_cluster_with_daprs_own_definition_takes_ours(cluster: Cluster) -> None:
    ours = yaml.safe_load((FOLDER / "components.yaml").read_text())
    ours["metadata"]["name"] = "components.older.dapr.io"
    ours["spec"]["group"] = "older.dapr.io"
    before = deepcopy(ours)
    [version] = before["spec"]["versions"]
    del version["subresources"], version["additionalPrinterColumns"]
    del version["schema"]["openAPIV3Schema"]["properties"]["status"]
    cluster.install(yaml.safe_dump(before))
    component = {
        "apiVersion": "older.dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": "here-before"},
        "spec": {"type": "state.redis", "version": "v1", "metadata": [{"name": "a", "value": 1}]},
    }
    made = cluster.call("POST", path_of(component).rpartition("/")[0], component)
    where = f"{DEFINITIONS}/components.older.dapr.io"
    patched = cluster.call("PATCH", where, {"spec": ours["spec"]}, content_type=MERGE_PATCH)
    assert (patched.status, patched.warnings) == (200, [])
    status = f"{path_of(component)}/status"
    found = cluster.until(status, lambda answer: answer.status == 200)
    assert found.body["spec"] == made.body["spec"] == component["spec"]
    written = cluster.call("PATCH", status, {"status": {"loaded": "1/1"}}, content_type=MERGE_PATCH)
    assert written.body["status"] == {"loaded": "1/1"}
