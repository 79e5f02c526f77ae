"""What a run made is deleted, also when it was on its way at the moment of Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from harness.fake_api_server import answer, failure, fake_api_server, listing

from dapr_cli.console import Console
from dapr_cli.errors import CliError
from dapr_cli.kube.runs.objects import RunObjects
from dapr_common.http.messages import Request, Response
from dapr_common.kube.client import KubeClient

BODY: dict[str, Any] = {
    "kind": "Deployment",
    "metadata": {"name": "a", "labels": {"app": "a"}},
    "spec": {},
}
MADE = {"metadata": {"name": "a", "namespace": "default", "uid": "u1", "resourceVersion": "1"}}
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SERVICES = "/api/v1/namespaces/default/services"


async def test_a_request_under_way_is_not_given_up() -> None:
    gate = asyncio.Event()

    async def late() -> AsyncIterator[bytes]:
        await gate.wait()
        yield b"{}"

    def reply(request: Request) -> Response:  # the lists are asked for at the same time
        if request.method == "DELETE":
            return answer({})
        return listing(1, MADE) if request.path == DEPLOYMENTS.encode() else listing(1)

    async with fake_api_server() as fake, KubeClient(fake.login) as client:
        fake.line.append(Response(201, [], late()))
        objects = RunObjects(client, "run-1", Console())
        making = asyncio.ensure_future(objects.make(BODY))
        async with asyncio.timeout(30):
            while not fake.asked:
                await asyncio.sleep(0.01)
            making.cancel()
            await asyncio.wait({making})
            removing = asyncio.ensure_future(objects.remove())
            done, _ = await asyncio.wait({removing}, timeout=0.2)
            assert not done
            assert len(fake.asked) == 1, "it looks for what is to be deleted too early"
            fake.line.clear()
            fake.line.append(reply)
            gate.set()
            assert await removing == []
        assert [(method, path) for method, path, _ in fake.asked[3:]] == [
            ("DELETE", f"{DEPLOYMENTS}/a")
        ]
        assert sorted(path for _, path, _ in fake.asked[1:3]) == [SERVICES, DEPLOYMENTS]
        assert {query for *_, query in fake.asked[1:3]} == {
            "labelSelector=app.kubernetes.io/instance%3Drun-1&limit=500"
        }
        assert fake.bodies[3] == b'{"preconditions":{"uid":"u1"}}'


async def test_why_something_cannot_be_deleted() -> None:
    async with fake_api_server() as fake, KubeClient(fake.login) as client:
        fake.line.append(failure(403, "Forbidden", "not yours"))
        problems = await RunObjects(client, "run-1", Console()).remove()
        assert len(problems) == 2
        assert all("not yours" in problem for problem in problems)


async def test_a_name_that_is_taken_at_the_same_moment() -> None:
    async with fake_api_server() as fake, KubeClient(fake.login) as client:
        fake.line.append(failure(409, "AlreadyExists"))
        with pytest.raises(CliError, match="the Deployment a was made by somebody else"):
            await RunObjects(client, "run-1", Console()).make(BODY)
