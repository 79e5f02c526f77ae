"""A real API server that asks our checks and our conversion, hosted here in a few lines."""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import trustme
from harness.apiserver import ApiServer, api_server, missing_programs

from dapr_common.http.messages import Request, Response
from dapr_common.http.server import HttpServer
from dapr_common.kube import conversion
from dapr_common.kube.api_errors import KubeError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import Kind
from dapr_common.kube.login import kubeconfig_login
from dapr_common.kube.validation import review
from dapr_common.kube.yaml_text import load_yaml

FOLDER = Path(__file__).parents[3] / "crds"
CRDS = Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)
WEBHOOKS = Kind(
    "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", namespaced=False
)
KINDS = ("components", "configurations", "httpendpoints", "resiliencies", "subscriptions")


class Host:
    """Serves both webhooks from a thread of its own; ``url`` and ``ca`` are for the cluster."""

    def __init__(self) -> None:
        authority = trustme.CA()
        self.ca = base64.b64encode(authority.cert_pem.bytes()).decode()
        self.url = ""
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self._tls)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def client_config(self, path: str) -> dict[str, str]:
        return {"url": f"{self.url}{path}", "caBundle": self.ca}

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = HttpServer(self._answer, max_body_bytes=8 << 20, max_header_bytes=1 << 16)
        port = await server.listen_tcp("127.0.0.1", 0, ssl=self._tls)
        self.url = f"https://127.0.0.1:{port}"
        self._listening.set()
        await self._stop.wait()
        await server.close(0)

    async def _answer(self, request: Request) -> Response:
        answers = {b"/validate": review.answer, b"/convert": conversion.answer}
        answer = answers[request.path](await request.read())
        return Response(200, [(b"Content-Type", b"application/json")], answer)


@pytest.fixture(scope="session")
def kube() -> Iterator[ApiServer]:
    if missing := missing_programs():
        pytest.skip(f"not here: {missing} (tests/cluster/build.py makes them)")
    with api_server() as server, Host() as host:
        asyncio.run(_install(server, host))
        yield server


async def _install(server: ApiServer, host: Host) -> None:
    async with KubeClient(kubeconfig_login(server.admin)) as client:
        for name in KINDS:
            body: Any = load_yaml((FOLDER / f"{name}.yaml").read_text())
            if (webhook := body["spec"]["conversion"].get("webhook")) is not None:
                webhook["clientConfig"] = host.client_config("/convert")
                webhook["conversionReviewVersions"] = ["v1"]
            await client.create(CRDS, body)
        await client.create(WEBHOOKS, _registration(host))


def _registration(host: Host) -> dict[str, Any]:
    rule = {
        "apiGroups": ["dapr.io"],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": list(KINDS),
    }
    return {
        "metadata": {"name": "dapr-validation"},
        "webhooks": [
            {
                "name": "validation.dapr.io",
                "clientConfig": host.client_config("/validate"),
                "rules": [rule],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "failurePolicy": "Fail",
            }
        ],
    }


@pytest.fixture
async def client(kube: ApiServer) -> Any:
    async with KubeClient(kubeconfig_login(kube.admin)) as client:
        await until_asked(client)
        yield client


async def until_asked(client: KubeClient) -> None:
    """The API server learns of kinds and webhooks by watches: wait until it asks for both."""
    kind = Kind("dapr.io", "v1alpha1", "subscriptions")
    body = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Subscription",
        "metadata": {"name": "probe"},
        "spec": {"pubsubname": "", "topic": "", "route": ""},
    }
    async with asyncio.timeout(40):
        while True:
            try:
                await client.create(kind, body, "default")
            except KubeError as error:
                if "cannot be used by a sidecar" in str(error):
                    return
            else:
                await client.delete(kind, "probe", "default")
            await asyncio.sleep(0.1)
