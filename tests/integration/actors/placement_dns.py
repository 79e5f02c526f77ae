"""Run as a program in a network of its own, where a DNS server answers for placement's name.

Three placement servers are behind one name, as a headless service has them, and one of them leads.
A sidecar of a cluster knows the name only. The operator and sentry are stand-ins.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from harness.app import AppProcess
from harness.backends import Backend
from harness.dns_server import DnsServer
from harness.http_call import acall
from harness.placement_group import PlacementGroup
from harness.placement_process import Placement
from harness.programs import free_port
from harness.sidecar import Sidecar, component
from harness.stand_in_operator import OPERATOR, StandInOperator
from harness.stand_in_sentry import StandInSentry

from dapr_common.security.x509 import write_certificates

NAME = "dapr-placement-server.dapr-system.svc.cluster.local"
PORT = 50005
_LEADS = "This placement server leads"
_ACTORS = Path(__file__).with_name("actor_app.py")


@asynccontextmanager
async def control_plane(operator: StandInOperator, sentry: StandInSentry) -> AsyncIterator[None]:
    """Both of one authority. The operator knows an actor state store."""
    operator.authority = sentry.issuer
    sentry.contexts.install(sentry.issuer.svid(OPERATOR.replace("operator", "sentry")))
    sentry.uri = "spiffe://public/ns/apps/shop"
    store = component("actors", "state.in-memory", actorStateStore="true")
    operator.put("Component", "actors", spec=store["spec"])
    async with operator.serving(), sentry.serving(0):
        yield


@asynccontextmanager
async def host(
    operator: StandInOperator, sentry: StandInSentry, folder: Path
) -> AsyncIterator[Sidecar]:
    """An app with actors and its sidecar, as the injector would start it."""
    token = folder / "token"
    token.write_text("a token")
    app_port = free_port()
    sidecar = Sidecar(
        "shop",
        app_port=app_port,
        flags=[
            "--mode=kubernetes",
            f"--placement-host-address={NAME}:{PORT}",
            f"--control-plane-address={operator.address}",
            f"--sentry-address={sentry.address}",
            "--control-plane-trust-domain=cluster.local",
            "--control-plane-namespace=dapr-system",
            "--disable-builtin-k8s-secret-store",
        ],
        env={
            "NAMESPACE": "apps",
            "DAPR_TRUST_ANCHORS": write_certificates(sentry.anchors).decode(),
            "DAPR_SENTRY_TOKEN_FILE": str(token),
            "DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK": "true",
        },
    )
    config = json.dumps({"entities": ["T"]})
    env = {"APP_CONFIG": config, "APP_NAME": "shop", "DAPR_HTTP_PORT": str(sidecar.http_port)}
    app = AppProcess([sys.executable, str(_ACTORS)], env=env, port=app_port, name="actor app")
    async with app, sidecar:
        yield sidecar


async def line(program: Placement | Sidecar, text: str, count: int = 1) -> None:
    await asyncio.to_thread(program.wait_lines, text, count)


async def check_call(sidecar: Sidecar) -> None:
    answer = await acall(sidecar.http_port, "POST", "/v1.0/actors/T/1/method/echo")
    assert answer.status == 200, answer.body


async def check(folder: Path, dns: DnsServer, etcd: Backend) -> None:
    operator, sentry, group = StandInOperator(), StandInSentry(), PlacementGroup(etcd.address, 0)
    async with AsyncExitStack() as stack:

        async def start(address: str) -> Placement:
            server = group.server(host=address, port=PORT)
            return await stack.enter_async_context(server)

        leader = await start("127.0.0.3")  # the last of the answers
        await line(leader, _LEADS)
        followers = [await start("127.0.0.1"), await start("127.0.0.2")]
        dns.serve(NAME, *(server.host for server in (leader, *followers)))
        await stack.enter_async_context(control_plane(operator, sentry))
        sidecar = await stack.enter_async_context(host(operator, sentry, folder))
        for follower in followers:
            await line(sidecar, f"{follower.address}: ")  # it does not lead
        await line(sidecar, f"connected to placement at {leader.address}")
        await check_call(sidecar)
        # All pods are replaced: nothing that is known of the name is of any use any more.
        for server in (*followers, leader):
            await asyncio.to_thread(server.stop)
        successor = await start("127.0.0.4")
        await line(successor, _LEADS)
        dns.serve(NAME, successor.host)
        await line(sidecar, f"connected to placement at {successor.address}")
        await check_call(sidecar)


def main(folder: Path) -> None:
    with DnsServer(folder) as dns, Backend("etcd") as etcd:
        dns.wait_line("started")
        asyncio.run(check(folder, dns, etcd))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
