"""Values of secrets in objects of every kind that may name some."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from dapr_operator.kinds import (
    COMPONENT,
    CONFIGURATION,
    HTTP_ENDPOINT,
    MCP_SERVER,
    RESILIENCY,
    DaprKind,
)
from dapr_operator.secret_values import fill, secret_names


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def named(name: str, secret: str, key: str = "") -> dict[str, Any]:
    reference = {"name": secret} | ({"key": key} if key else {})
    return {"name": name, "secretKeyRef": reference}


SECRETS = {"redis": {"password": encoded("s3cret"), "redis": encoded("by name")}, "gone": None}


def component(*entries: dict[str, Any], store: str = "") -> dict[str, Any]:
    body: dict[str, Any] = {"spec": {"metadata": list(entries)}}
    return body | ({"auth": {"secretStore": store}} if store else {})


@pytest.mark.parametrize("store", ["", "kubernetes"])
def test_component(store: str) -> None:
    body = component(
        {"name": "plain", "value": "1"}, named("password", "redis", "password"), store=store
    )
    before = copy.deepcopy(body)
    assert secret_names(COMPONENT, body) == {"redis"}
    filled = fill(COMPONENT, body, SECRETS)
    plain, password = filled.body["spec"]["metadata"]
    assert plain == {"name": "plain", "value": "1"}
    assert password == {**named("password", "redis", "password"), "value": encoded("s3cret")}
    assert filled.missing == ()
    assert body == before, "what the cluster holds is left as it is"


def test_without_a_key_it_is_the_secret_s_name() -> None:
    filled = fill(COMPONENT, component(named("password", "redis")), SECRETS)
    assert filled.body["spec"]["metadata"][0]["value"] == encoded("by name")


def test_other_secret_stores_are_the_sidecar_s_business() -> None:
    body = component(named("password", "redis", "password"), store="vault")
    assert secret_names(COMPONENT, body) == frozenset()
    assert fill(COMPONENT, body, {}).body == body


def test_what_is_missing_is_named_and_everything_else_is_there() -> None:
    body = component(
        named("one", "gone", "x"),
        named("two", "redis", "no such key"),
        named("three", "redis", "password"),
    )
    filled = fill(COMPONENT, body, SECRETS)
    assert filled.missing == (
        "one: there is no secret 'gone'",
        "two: secret 'redis' has no key 'no such key'",
    )
    values = [entry.get("value") for entry in filled.body["spec"]["metadata"]]
    assert values == [None, None, encoded("s3cret")]


def test_http_endpoint() -> None:
    part = {"secretKeyRef": {"name": "redis", "key": "password"}}
    body = {
        "spec": {
            "headers": [named("Authorization", "redis", "password")],
            "clientTLS": {"certificate": part, "privateKey": part, "rootCA": {"value": "pem"}},
        }
    }
    filled = fill(HTTP_ENDPOINT, body, SECRETS).body["spec"]
    assert filled["headers"][0]["value"] == encoded("s3cret")
    assert filled["clientTLS"]["certificate"]["value"] == encoded("s3cret")
    assert filled["clientTLS"]["privateKey"]["value"] == encoded("s3cret")
    assert filled["clientTLS"]["rootCA"] == {"value": "pem"}


@pytest.mark.parametrize(
    ("transport", "entries"), [("streamableHTTP", "headers"), ("sse", "headers"), ("stdio", "env")]
)
def test_mcp_server(transport: str, entries: str) -> None:
    body = {"spec": {"endpoint": {transport: {entries: [named("a", "redis", "password")]}}}}
    filled = fill(MCP_SERVER, body, SECRETS).body["spec"]["endpoint"]
    assert filled[transport][entries][0]["value"] == encoded("s3cret")


def test_configuration_gets_plain_text() -> None:
    headers = [named("api-key", "redis", "password")]
    body = {"spec": {"tracing": {"otel": {"headers": headers}}}}
    filled = fill(CONFIGURATION, body, SECRETS).body["spec"]["tracing"]["otel"]
    assert filled["headers"][0]["value"] == "s3cret"


@pytest.mark.parametrize("kind", [COMPONENT, CONFIGURATION, HTTP_ENDPOINT, MCP_SERVER, RESILIENCY])
@pytest.mark.parametrize(
    "body", [{}, {"spec": None}, {"spec": {"metadata": None, "headers": None, "clientTLS": []}}]
)
def test_objects_without_anything(kind: DaprKind, body: dict[str, Any]) -> None:
    assert secret_names(kind, body) == frozenset()
    assert fill(kind, body, {}).body == body
