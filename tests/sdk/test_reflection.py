"""gRPC's own services as grpcio sees them: reflection here, health that is the application's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.app import AppProcess
from harness.programs import Program
from harness.sdk_environments import python_environment
from harness.sidecar import Sidecar

pytestmark = pytest.mark.sdk

HERE = Path(__file__).with_name("reflection")


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, Any]]:
    python = str(python_environment(HERE / "requirements.txt"))
    with (
        AppProcess([python, str(HERE / "app.py")]) as app,
        Sidecar(app_port=app.port, app_protocol="grpc") as sidecar,
        Program([python, str(HERE / "client.py")], env=sidecar.sdk_environment()) as client,
    ):
        client.wait_exit(60)
        yield json.loads(client.stdout_lines[-1])


def test_services_are_listed(seen: dict[str, Any]) -> None:
    assert {
        "dapr.proto.runtime.v1.Dapr",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    } <= set(seen["services"])


def test_the_api_is_described(seen: dict[str, Any]) -> None:
    methods = seen["methods"]
    assert methods["GetState"] == [
        "dapr.proto.runtime.v1.GetStateRequest",
        "dapr.proto.runtime.v1.GetStateResponse",
    ]
    assert "SubscribeTopicEventsAlpha1" in methods
    assert "store_name" in seen["request_fields"]


def test_a_call_built_from_the_description_alone_works(seen: dict[str, Any]) -> None:
    assert seen["id"].startswith("app-")


def test_unknown_symbols_are_said_to_be_so(seen: dict[str, Any]) -> None:
    assert seen["unknown"]


def test_health_of_the_app_is_reached_through_the_sidecar(seen: dict[str, Any]) -> None:
    assert seen["app_health"] == {"other.Service": "NOT_FOUND", "shop.Orders": "SERVING"}


def test_health_without_an_app_id_says_what_is_missing(seen: dict[str, Any]) -> None:
    assert "dapr-app-id" in seen["no_target"]
