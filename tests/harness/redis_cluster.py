"""A real Redis cluster of three masters, for as long as a test needs it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.programs import Program, accepts_connections, free_port
from harness.redis_server import RedisServer


class ClusterNode(Program):
    """One server; killed and started again it has what it had written."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        place = folder / str(self.port)
        place.mkdir()
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
        command += ["--cluster-node-timeout", "5000", "--save", "", "--appendonly", "yes"]
        command += ["--cluster-require-full-coverage", "no", "--dir", str(place)]
        super().__init__(command, exit_code=None)

    def is_ready(self) -> bool:
        return accepts_connections(self.port)

    @property
    def server(self) -> RedisServer:
        return RedisServer(self.port)

    def kill(self) -> None:
        """As if its machine were gone."""
        self.process.kill()
        self.wait_exit()

    def restart(self) -> None:
        """On the same port."""
        self.start()
        self.wait_ready()


class RedisCluster:
    """Three nodes with a third of the slots each."""

    def __init__(self, nodes: list[ClusterNode]) -> None:
        self.nodes = nodes

    @property
    def address(self) -> str:
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def owners(self) -> dict[int, ClusterNode]:
        """Slot → the node that has it now."""
        by_port = {node.port: node for node in self.nodes}
        found: dict[int, ClusterNode] = {}
        for line in self.nodes[0].server.call("CLUSTER", "NODES").splitlines():
            words = line.split()
            node = by_port[int(words[1].split("@")[0].rpartition(":")[2])]
            for word in words[8:]:
                if not word.startswith("["):  # that would be a slot on its way
                    first, _, last = word.partition("-")
                    found |= dict.fromkeys(range(int(first), int(last or first) + 1), node)
        return found

    def wait_ok(self) -> None:
        """Until every node that runs says that the cluster is."""
        until = time.monotonic() + 60
        running = [node for node in self.nodes if node.process.poll() is None]
        while not all("cluster_state:ok" in n.server.call("CLUSTER", "INFO") for n in running):
            assert time.monotonic() < until, "the cluster does not come together"
            time.sleep(0.05)


def is_available() -> bool:
    return shutil.which("redis-server") is not None and shutil.which("redis-cli") is not None


@contextmanager
def redis_cluster() -> Iterator[RedisCluster]:
    """Start three and make them one."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        nodes = [stack.enter_context(ClusterNode(folder)) for _ in range(3)]
        cluster = RedisCluster(nodes)
        addresses = cluster.address.split(",")
        subprocess.run(
            ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"],
            check=True,
            capture_output=True,
            timeout=60,
        )
        cluster.wait_ok()
        yield cluster
