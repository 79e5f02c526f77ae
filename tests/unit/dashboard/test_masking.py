"""What pages may show: never a secret, wherever it stands."""

from __future__ import annotations

import time
from typing import Any

import pytest

from dapr_common.kube.manifests import from_body
from dapr_common.kube.resources import Component
from dapr_common.kube.validation.catalogue import catalogue
from dapr_dashboard.masking import (
    HIDDEN,
    Shown,
    command,
    document,
    is_secret_name,
    settings_of,
    text,
    tree,
)
from dapr_dashboard.sources.tail import MOST_BYTES


def component(kind: str, *metadata: dict[str, Any], version: str = "v1") -> Component:
    found = from_body(
        {
            "apiVersion": "dapr.io/v1alpha1",
            "kind": "Component",
            "metadata": {"name": "c"},
            "spec": {"type": kind, "version": version, "metadata": list(metadata)},
            "auth": {"secretStore": "vault"},
        }
    )
    assert isinstance(found, Component)
    return found


def test_references_say_where_a_secret_is_and_not_what() -> None:
    found = settings_of(
        component(
            "state.redis",
            {"name": "redisHost", "value": "localhost:6379"},
            {"name": "redisPassword", "secretKeyRef": {"name": "redis", "key": "password"}},
            {"name": "redisUsername", "envRef": "REDIS_USER"},
            {"name": "REDISPASSWORD", "value": "topsecret"},
        )
    )
    assert found == [
        Shown("redisHost", "localhost:6379"),
        Shown("redisPassword", HIDDEN, "secret redis/password of vault"),
        Shown("redisUsername", HIDDEN, "environment variable REDIS_USER"),
        Shown("REDISPASSWORD", HIDDEN, "in the manifest"),
    ]


def every_secret_field() -> list[tuple[str, str, str]]:
    known = catalogue()
    return [
        (kind, version, name)
        for kind, versions in known.types.items()
        for version in versions
        for field in known.fields(kind, version)
        if field.secret
        for name in field.names
    ]


def test_every_setting_that_a_component_calls_secret_is_hidden() -> None:
    fields = every_secret_field()
    assert len(fields) > 50
    for kind, version, name in fields:
        made = component(kind, {"name": name, "value": "topsecret"}, version=version)
        (shown,) = settings_of(made)
        assert "topsecret" not in shown.text, (kind, version, name)


def test_of_components_nobody_knows_names_tell() -> None:
    found = settings_of(
        component(
            "state.mine",
            {"name": "apiKey", "value": "topsecret"},
            {"name": "host", "value": "amqp://me:topsecret@host:5672/x"},
            {"name": "options", "value": "Server=a;Password=topsecret;Timeout=5"},
            {"name": "keyPrefix", "value": "name"},
        )
    )
    assert "topsecret" not in str(found)
    assert found[1].text == f"amqp://{HIDDEN}@host:5672/x"
    assert found[2].text == f"Server=a;Password={HIDDEN};Timeout=5"
    assert found[3].text == "name"


@pytest.mark.parametrize(
    "name",
    ["password", "client_secret", "API-KEY", "azureClientSecret", "token", "connectionString"],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["secretKeyRef", "secretStore", "tokenURL", "keyPrefix", "ttl", "tokenValidators", "path"],
)
def test_names_that_only_sound_so(name: str) -> None:
    assert not is_secret_name(name)


def test_documents_keep_their_shape() -> None:
    spec = {
        "tracing": {"otel": {"headers": ["x=topsecret,y=topsecret"], "isSecure": True}},
        "httpPipeline": {"handlers": [{"name": "a", "type": "middleware.http.oauth2"}]},
        "secrets": {"scopes": [{"storeName": "vault", "allowedSecrets": ["a"]}]},
        "headers": [{"name": "Authorization", "value": "topsecret"}, {"name": "A", "value": "b"}],
        "apiToken": "topsecret",
        "enabled": False,
    }
    shown = tree(spec)
    assert "topsecret" not in str(shown)
    assert shown["secrets"] == spec["secrets"]
    assert shown["headers"][1] == {"name": "A", "value": HIDDEN}
    assert shown["enabled"] is False
    assert shown["httpPipeline"] == spec["httpPipeline"]


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--api-key", "topsecret", "-v"],
        ["run", "--password=topsecret"],
        ["env", "DB_PASSWORD=topsecret", "run"],
        ["run", "postgres://me:topsecret@host/db"],
        ["curl", "-H", "Authorization:Bearer", "topsecret1"],
        ["run", "--password", "-topsecret"],
    ],
)
def test_command_lines(words: list[str]) -> None:
    shown = command(words)
    assert "topsecret" not in shown
    assert HIDDEN in shown
    assert words[0] in shown


def test_a_flag_without_a_value_hides_no_other_flag() -> None:
    assert command(["a", "--token", "--port", "80"]) == "a --token --port 80"


@pytest.mark.parametrize(
    "value",
    [
        "https://host/hook?api_key=topsecret&x=1",
        "https://host/?a=b&sig=topsecret",
        '{"user": "me", "password": "topsecret, and more"}',
        '{\\"password\\":\\"topsecret\\"}',
        "apikey=topsecret; next=1",
        "AWS_SECRET_ACCESS_KEY=topsecret",
        "Endpoint=sb://x/;SharedAccessKeyName=n;SharedAccessKey=topsecret=",
        "DefaultEndpointsProtocol=https;AccountName=n;AccountKey=topsecret==;EndpointSuffix=s",
        "host=db user=me password='topsecret too' dbname=x",
        "dial me:topsecret@tcp(127.0.0.1:3306)/db: connection refused",
        "amqp://me:topsecret/x@127.0.0.1:5672/",
        "redis://:p@topsecret@127.0.0.1/0",
        "curl -H Authorization:Bearer topsecret1",
        "Authorization: Basic topsecret",
        '"headers":{"Authorization":"Bearer topsecret"}',
        "sent with bearer topsecret-0123456789",
        "Cookie: a=b; session=topsecret",
        "eyJhbGciOiJub25lIn0.eyJ0b3BzZWNyZXQiOiJ0b3BzZWNyZXQifQ.topsecret_topsecret",
        "-----BEGIN PRIVATE KEY-----\ntopsecret\n-----END PRIVATE KEY-----",
    ],
)
def test_secrets_in_any_text(value: str) -> None:
    shown = text(value)
    assert "topsecret" not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    "value",
    [
        "http://host:80/a@b?c=d",
        "https://registry/@scope/package",
        "the token: expired at 10:00",
        "invalid metadata field 'connectionString': SRV URIs must not include a port number",
        "bearer authentication is not configured",
        "dial tcp 127.0.0.1:9: connect: connection refused",
        "secret store vault: no such key",
        "key=order-1 max_tokens=5 traceId=0af7",
    ],
)
def test_plain_texts_stay(value: str) -> None:
    assert text(value) == value


@pytest.mark.parametrize("piece", ["a", "a.", "://", "token=", '"', "a:", "Bearer ", "eyJa.", "@("])
def test_no_text_takes_long_to_read(piece: str) -> None:
    begin = time.thread_time()
    text(piece * (MOST_BYTES // len(piece)))
    assert time.thread_time() - begin < 1.5


def test_manifests_of_a_cluster() -> None:
    """What kubectl keeps of a manifest holds all of its secrets."""
    pod = {
        "metadata": {
            "name": "p",
            "managedFields": [{"manager": "m"}],
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": '{"a":"topsecret"}',
                "dapr.io/env": "A=b,DB_PASSWORD=topsecret",
                "dapr.io/app-id": "shop",
            },
        },
        "spec": {
            "containers": [
                {
                    "command": ["run", "--api-key", "topsecret"],
                    "args": ["--url=redis://:topsecret@host", "--port=80"],
                    "env": [
                        {"name": "API_TOKEN", "value": "topsecret"},
                        {"name": "DATABASE", "value": "postgres://me:topsecret@db/x"},
                        {"name": "COLOUR", "value": "red"},
                    ],
                }
            ]
        },
    }
    shown = document(pod)
    assert "topsecret" not in str(shown)
    assert "managedFields" not in shown["metadata"]
    assert shown["metadata"]["annotations"]["dapr.io/app-id"] == "shop"
    container = shown["spec"]["containers"][0]
    assert container["args"][1] == "--port=80"
    assert container["env"][2] == {"name": "COLOUR", "value": "red"}


def test_keys_that_only_name_something() -> None:
    spec = {
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}],
        "volumes": [{"name": "v", "configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}]}}],
        "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "nodeAffinity": {"matchExpressions": [{"key": "os", "operator": "In", "values": ["a"]}]},
    }
    assert tree(spec) == spec
    assert tree({"items": [{"key": "topsecret"}], "key": "topsecret"}) == {
        "items": [{"key": HIDDEN}],
        "key": HIDDEN,
    }
