"""Run as a program in a network and mount namespace of its own, with ``/etc/resolv.conf`` replaced.

A DNS server answers for the headless service of an app, as a cluster's does; the resolver asks it
by the system's own lookup.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from harness.dns_server import DnsServer

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.nameresolution.kubernetes import KubernetesResolver
from dapr_sidecar.components.nameresolution.kubernetes.resolver import KubernetesResolverSettings

NAME = "shop-dapr.prod.svc.cluster.local"


async def ask(made: KubernetesResolver) -> set[str]:
    return {await made.resolve("shop", "prod", 50002) for _ in range(60)}


def asked(server: DnsServer, count: int) -> int:
    """How often, once it was so often: what the server says is read a moment after its answer."""
    server.wait_lines(f"query[A] {NAME}", count)
    return server.queries(NAME)


async def check(server: DnsServer) -> None:
    made = KubernetesResolver(KubernetesResolverSettings(), ComponentContext("kubernetes", "me"))
    server.serve(NAME, "10.0.0.1", "10.0.0.2", "fd00::1")
    assert await ask(made) == {"10.0.0.1:50002", "10.0.0.2:50002", "[fd00::1]:50002"}
    assert asked(server, 1) == 1
    server.serve(NAME, "10.0.0.3")
    assert "10.0.0.3:50002" not in await ask(made)
    made.forget("shop", "prod", "10.0.0.1:50002")
    assert await ask(made) == {"10.0.0.3:50002"}
    assert asked(server, 2) == 2
    with pytest.raises(LookupError, match=r"^lookup nobody-dapr.prod.svc.cluster.local: "):
        await made.resolve("nobody", "prod", 50002)
    await made.close()


def main(folder: Path) -> None:
    with DnsServer(folder) as server:
        server.wait_line("started")
        asyncio.run(check(server))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
