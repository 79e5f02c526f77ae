"""A real API server that knows our kinds, and plain calls of it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from harness.apiserver import api_server, missing_programs

from dapr_common.kube.login import Login, kubeconfig_login
from dapr_common.kube.schema.catalog import CUSTOM_RESOURCES

FOLDER = Path(__file__).parents[3] / "crds"
PLURALS = {resource.kind: resource.plural for resource in CUSTOM_RESOURCES}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
JSON, YAML = "application/json", "application/yaml"
MERGE_PATCH, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Answer:
    status: int
    warnings: list[str]
    body: Any

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


class Cluster:
    """Speaks as the administrator. A body that is text is sent as it is, anything else as JSON."""

    def __init__(self, login: Login) -> None:
        self._url = login.server
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=login.tls)
        )

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = JSON,
        accept: str = JSON,
        **query: str,
    ) -> Answer:
        text = body if isinstance(body, str) else json.dumps(body)
        request = urllib.request.Request(
            f"{self._url}{path}?{urlencode(query)}",
            data=None if body is None else text.encode(),
            headers={"Content-Type": content_type, "Accept": accept},
            method=method,
        )
        try:
            with self._opener.open(request, timeout=20) as response:
                return _answer(response.status, response)
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error)

    def until(self, path: str, accept: Callable[[Answer], bool], seconds: float = 30.0) -> Answer:
        """Ask until the answer is as wanted: nothing tells that the server serves a new kind."""
        end = time.monotonic() + seconds
        while not accept(answer := self.call("GET", path)):
            assert time.monotonic() < end, (path, answer)
            time.sleep(0.05)
        return answer

    def install(self, text: str) -> Answer:
        """A definition as its file has it; returns it when its kind can be used."""
        made = self.call("POST", DEFINITIONS, text, content_type=YAML, fieldValidation="Strict")
        assert (made.status, made.warnings) == (201, []), made
        name, spec = made.body["metadata"]["name"], made.body["spec"]
        for version in spec["versions"]:
            kind = f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}"
            self.until(kind, lambda answer: answer.status == 200)
        return self.call("GET", f"{DEFINITIONS}/{name}")


def _answer(status: int, response: Any) -> Answer:
    text = response.read()
    is_json = response.headers.get_content_type() == JSON
    body = json.loads(text) if is_json else {"message": text.decode()}
    return Answer(status, response.headers.get_all("Warning") or [], body)


def collection(body: dict[str, Any]) -> str:
    """Where objects like this one are."""
    return f"/apis/{body['apiVersion']}/namespaces/default/{PLURALS[body['kind']]}"


def path_of(body: dict[str, Any]) -> str:
    """Where this object is."""
    return f"{collection(body)}/{body['metadata']['name']}"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """With all our kinds."""
    if names := missing_programs():
        pytest.skip(f"not here: {names}")
    with api_server() as server:
        found = Cluster(kubeconfig_login(server.admin))
        for path in sorted(FOLDER.glob("*.yaml")):
            found.install(path.read_text())
        yield found


@pytest.fixture
def put(cluster: Cluster) -> Iterator[Callable[..., Answer]]:
    """Makes an object from a body, which is gone after the test if it was made."""
    made: list[str] = []

    def create(body: dict[str, Any]) -> Answer:
        answer = cluster.call("POST", collection(body), body, fieldValidation="Strict")
        if answer.status == 201:
            made.append(path_of(body))
        return answer

    yield create
    for path in made:
        assert cluster.call("DELETE", path).status == 200
