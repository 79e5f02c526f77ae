"""JSON from the operator: secrets decoded, missing words filled in, faults named."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from dapr_common.kube.manifests import ManifestError
from dapr_common.kube.resources import Component, HttpEndpoint, Subscription
from dapr_sidecar.runtime.operator_manifests import Received, receive

REFERENCE = {"name": "s", "key": "k"}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def read(kind: str, version: str = "dapr.io/v1alpha1", **body: Any) -> Received:
    whole = {"metadata": {"name": "x", "resourceVersion": "9"}, **body}
    return receive(json.dumps(whole).encode(), kind, version)


def component(*metadata: Any, **more: Any) -> Received:
    return read("Component", spec={"type": "state.x", "metadata": list(metadata)}, **more)


def value(received: Received) -> str | None:
    assert isinstance(received.resource, Component)
    return received.resource.metadata[0].value


@pytest.mark.parametrize("auth", [{}, {"auth": {}}, {"auth": {"secretStore": "kubernetes"}}])
def test_values_of_the_clusters_secrets_are_decoded(auth: dict[str, Any]) -> None:
    entry = {"name": "p", "value": encoded("päss"), "secretKeyRef": REFERENCE}
    assert value(component(entry, **auth)) == "päss"


def test_other_values_stay_as_they_are() -> None:
    plain = encoded("plain")
    assert value(component({"name": "p", "value": plain})) == plain
    entry = {"name": "p", "value": plain, "secretKeyRef": REFERENCE}
    assert value(component(entry, auth={"secretStore": "vault"})) == plain
    assert value(component({"name": "p", "secretKeyRef": REFERENCE})) is None
    assert value(component({"name": "p", "value": 5, "secretKeyRef": REFERENCE})) == "5"


@pytest.mark.parametrize(
    ("raw", "why"),
    [("not base64!", "no base64"), (base64.b64encode(b"\xff\xfe").decode(), "no text")],
)
def test_a_value_that_cannot_be_decoded_is_a_fault_without_the_value(raw: str, why: str) -> None:
    found = component({"name": "p", "value": raw, "secretKeyRef": REFERENCE})
    assert found.resource is None
    assert "'p'" in found.fault
    assert why in found.fault
    assert raw not in found.fault


def test_endpoints() -> None:
    secret = {"value": encoded("s3cret"), "secretKeyRef": REFERENCE}
    tls = {"rootCA": secret, "certificate": {"value": "plain"}, "privateKey": secret}
    spec = {"baseUrl": "http://x", "headers": [{"name": "h", **secret}], "clientTLS": tls}
    endpoint = read("HTTPEndpoint", spec=spec).resource
    assert isinstance(endpoint, HttpEndpoint)
    assert endpoint.headers[0].value == "s3cret"
    assert endpoint.root_ca is not None
    assert endpoint.root_ca.value == "s3cret"
    assert endpoint.certificate is not None
    assert endpoint.certificate.value == "plain"


def test_an_object_says_its_version_or_gets_it() -> None:
    spec = {"pubsubname": "p", "topic": "t", "route": "/one", "routes": {"default": "/two"}}
    newer = read("Subscription", "dapr.io/v2alpha1", spec=spec).resource
    older = read("Subscription", "dapr.io/v2alpha1", apiVersion="dapr.io/v1alpha1", spec=spec)
    assert isinstance(newer, Subscription)
    assert newer.default_route == "/two"
    assert isinstance(older.resource, Subscription)
    assert older.resource.default_route == "/one"
    managed = {"name": "x", "managedFields": [{"manager": "m"}], "labels": None}
    assert read("Component", metadata=managed, status={"a": 1}, spec={"type": "t"}).resource


@pytest.mark.parametrize(
    "body",
    [
        {"spec": 5},
        {"spec": {"metadata": 5}},
        {"spec": {"metadata": [5]}},
        {"spec": {"metadata": [{"value": 1}]}},
        {"auth": 5},
        {"scopes": "a"},
    ],
)
def test_what_cannot_be_read_is_named(body: dict[str, Any]) -> None:
    found = read("Component", **body)
    assert (found.name, found.version, found.resource) == ("x", "9", None)
    assert found.fault.startswith("Component x cannot be read: ")


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"metadata":{}}', b'{"metadata":{"name":5}}'])
def test_what_has_no_name_is_an_error(raw: bytes) -> None:
    with pytest.raises(ManifestError, match="the operator sent a Component"):
        receive(raw, "Component", "dapr.io/v1alpha1")
