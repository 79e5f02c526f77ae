"""An app is up once both its pod and its Deployment were seen: one may be seen before the other."""

from __future__ import annotations

import asyncio

from harness.fake_api_server import answer, events, fake_api_server, listing

from dapr_cli.console import Console
from dapr_cli.kube.runs.watch import RunWatch
from dapr_common.http.messages import Request, Response
from dapr_common.kube.client import KubeClient

POD = {
    "metadata": {
        "name": "a-1",
        "namespace": "default",
        "uid": "u",
        "resourceVersion": "1",
        "labels": {"app": "a"},
    },
    "spec": {"containers": [{"name": "a"}, {"name": "daprd"}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}
DEPLOYMENT = {"metadata": {"name": "a", "namespace": "default", "resourceVersion": "2"}}


async def test_a_pod_that_is_seen_before_its_deployment() -> None:
    made = False

    def reply(request: Request) -> Response:
        if b"watch=true" in request.query:
            return events(hang=True) if made else answer({}, 500)
        if b"/pods" in request.path:
            return listing(1, POD)
        return listing(2, DEPLOYMENT) if made else answer({}, 500)

    async with fake_api_server() as fake, KubeClient(fake.login) as client:
        fake.line.append(reply)
        async with RunWatch(client, fake.login, "run=1", {}, Console()) as watch:
            async with asyncio.timeout(20):
                await watch.changed.wait()
                assert set(watch.late(["a"])) == {"a"}
                made = True
                while watch.late(["a"]):
                    watch.changed.clear()
                    await watch.changed.wait()
            assert (watch.deployed(), watch.lost()) == ({"a"}, [])
