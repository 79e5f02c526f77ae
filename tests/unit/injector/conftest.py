"""Admission without HTTP and without a cluster: a pod goes in, the response comes out."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dapr_common.flags import parse
from dapr_injector.admission import Answer, examine, inject
from dapr_injector.callers import Callers
from dapr_injector.injection import Facts
from dapr_injector.settings import FLAGS, Settings, read

Pod = dict[str, Any]
UID = "7b1c"
ENVIRONMENT = {"NAMESPACE": "dapr-system", "SIDECAR_IMAGE": "example/daprd:1"}
NO_RESOLV_CONF = Path("/nonexistent")


@dataclass(frozen=True)
class Admitted:
    """An answer, taken apart."""

    answer: Answer
    response: dict[str, Any]
    patch: list[dict[str, Any]]
    pod: Pod
    """As it came, or as the patch makes it."""

    @property
    def sidecar(self) -> dict[str, Any]:
        spec = self.pod["spec"]
        everything = [*spec.get("containers", []), *spec.get("initContainers", [])]
        return next(container for container in everything if container["name"] == "daprd")

    @property
    def warnings(self) -> list[str]:
        return self.response.get("warnings", [])


def _settings(environment: Mapping[str, str] | None = None, *flags: str) -> Settings:
    return read(parse(FLAGS, flags), ENVIRONMENT | dict(environment or {}), NO_RESOLV_CONF)


def _make_body(pod: object, **changes: Any) -> bytes:
    request = {
        "uid": UID,
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "namespace": "default",
        "operation": "CREATE",
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
        "object": pod,
    }
    version = changes.pop("version", "v1")
    review = {"apiVersion": f"admission.k8s.io/{version}", "kind": "AdmissionReview"}
    return json.dumps(review | {"request": request | changes}).encode()


def _admit(
    pod: Pod,
    *,
    settings: Settings | None = None,
    facts: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Admitted:
    settings = settings or _settings()
    before = copy.deepcopy(pod)
    callers, namespace = Callers(settings.allowed_accounts), settings.identity.namespace
    answer = examine(_make_body(pod, **changes), callers, namespace)
    if not isinstance(answer, Answer):
        answer = inject(answer, settings, Facts(**({"trust_anchors": "PEM"} | dict(facts or {}))))
    assert pod == before
    response = json.loads(answer.body)["response"]
    assert response["uid"] == UID
    patch = json.loads(base64.b64decode(response.get("patch", "") or b"W10="))
    return Admitted(answer, response, patch, _apply_patch(pod, patch))


def _apply_patch(document: Pod, operations: Sequence[dict[str, Any]]) -> Pod:
    """A changed copy. As RFC 6902 says, the parent of what is added must be there."""
    result = copy.deepcopy(document)
    for operation in operations:
        assert operation["op"] == "add", operation
        *parents, last = map(_unescape, operation["path"].split("/")[1:])
        target: Any = result
        for name in parents:
            target = target[int(name)] if isinstance(target, list) else target[name]
        value = copy.deepcopy(operation["value"])
        if isinstance(target, list):
            index = len(target) if last == "-" else int(last)
            assert 0 <= index <= len(target), operation
            target.insert(index, value)
        else:
            target[last] = value
    return result


def _unescape(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~")


@pytest.fixture(scope="session")
def make_settings() -> Callable[..., Settings]:
    """``make_settings(environment, *flags)``."""
    return _settings


@pytest.fixture(scope="session")
def make_body() -> Callable[..., bytes]:
    """``make_body(pod, **parts of the request)``: an AdmissionReview."""
    return _make_body


@pytest.fixture(scope="session")
def admit() -> Callable[..., Admitted]:
    """``admit(pod, settings=, facts=, **parts of the request)``."""
    return _admit


@pytest.fixture(scope="session")
def apply_patch() -> Callable[[Pod, Sequence[dict[str, Any]]], Pod]:
    return _apply_patch


@pytest.fixture(scope="session")
def make_pod() -> Callable[..., Pod]:
    """``make_pod(annotations without dapr.io/, **spec)``."""

    def make(annotations: Mapping[str, str] | None = None, **spec: Any) -> Pod:
        wanted = {"enabled": "true", "app-id": "orders"} | dict(annotations or {})
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "orders-1",
                "annotations": {f"dapr.io/{name}": text for name, text in wanted.items()},
            },
            "spec": {"containers": [{"name": "app", "image": "example/app:1"}]} | spec,
        }

    return make
