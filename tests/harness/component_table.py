"""Components under the shared suites, made from ``tests/conformance/components.toml``."""

from __future__ import annotations

import asyncio
import shutil
import tomllib
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from harness.apiserver import ApiServer, api_server, missing_programs
from harness.backends import Backend, Backends
from harness.kube_cluster import Cluster
from harness.pluggable import EXAMPLES, OFFERED, PluggableProcess, make, sockets_folder
from harness.redis_cluster import RedisCluster, redis_cluster
from harness.redis_server import RedisServer, redis_server
from harness.stand_in_cosmos import stand_in_cosmos
from harness.stand_in_gcs import stand_in_gcs
from harness.stand_in_twilio import stand_in_twilio
from harness.stand_in_twitter import stand_in_twitter

from dapr_common.kube.kinds import SECRETS
from dapr_sidecar.components.base import Component

Entry = dict[str, Any]
_API_SERVER = "kube-apiserver"
_STAND_INS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "cosmos": stand_in_cosmos,
    "gcs": stand_in_gcs,
    "twilio": stand_in_twilio,
    "twitter": stand_in_twitter,
}
TABLE: dict[str, list[Entry]] = tomllib.loads(
    (Path(__file__).parents[1] / "conformance" / "components.toml").read_text()
)


def entry_id(entry: Entry) -> str:
    """What a test run shows: the type, the version unless it is the first, the variant."""
    version = entry.get("version", "v1")
    parts = [entry["type"], "" if version == "v1" else version, entry.get("variant", "")]
    return "/".join(part for part in parts if part)


class Services:
    """Programs that components need; each is started once, when first asked for."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._backends = self._stack.enter_context(Backends())
        self._stand_ins: dict[str, str] = {}
        self._redis: RedisServer | None = None
        self._cluster: RedisCluster | None = None
        self._kubernetes: ApiServer | None = None
        self._sockets = self._stack.enter_context(sockets_folder())
        self._pluggable: dict[str, PluggableProcess] = {}

    def redis(self) -> RedisServer:
        """A Redis server."""
        if self._redis is None:
            self._redis = self._stack.enter_context(redis_server())
        return self._redis

    def redis_cluster(self) -> RedisCluster:
        """A Redis cluster of three nodes."""
        if self._cluster is None:
            self._cluster = self._stack.enter_context(redis_cluster())
        return self._cluster

    def kubernetes(self) -> ApiServer:
        """A Kubernetes API server."""
        if self._kubernetes is None:
            self._kubernetes = self._stack.enter_context(api_server())
        return self._kubernetes

    def backend(self, name: str) -> Backend:
        """A server or emulator of the kit; the test is skipped when it cannot be had."""
        return self._backends.shared(name)

    def stand_in(self, name: str) -> str:
        """The URL of a stand-in for a service that cannot be had, or whose emulator lacks much."""
        if name not in self._stand_ins:
            self._stand_ins[name] = self._stack.enter_context(_STAND_INS[name]()).url
        return self._stand_ins[name]

    def pluggable(self, name: str) -> PluggableProcess:
        """A process with pluggable components, all of them in one folder."""
        if name not in self._pluggable:
            process = PluggableProcess(name, self._sockets, *OFFERED[name])
            self._pluggable[name] = self._stack.enter_context(process)
        return self._pluggable[name]

    def close(self) -> None:
        """End them all."""
        self._stack.close()


class Maker:
    """Makes components of one entry; those made share what the entry's metadata names."""

    def __init__(self, entry: Entry, folder: Path, services: Services) -> None:
        needs = entry.get("needs")
        absent = missing_programs() if needs == _API_SERVER else needs and not shutil.which(needs)
        if absent:
            pytest.skip(f"{needs} is not installed")
        self.entry = entry
        self.services = services
        self.variables = {"dir": str(folder)}
        if needs == "redis-server":
            self.variables["redis"] = services.redis().address
        if backend := entry.get("backend"):
            server = services.backend(backend)
            self.variables |= {"backend": server.address, "port": str(server.port), **server.facts}
        if entry.get("variant") == "cluster":
            self.variables["redis"] = services.redis_cluster().address
        if stand_in := entry.get("stand_in"):
            self.variables[stand_in] = services.stand_in(stand_in)
        self._process: PluggableProcess | None = None
        if entry.get("outside") == "pluggable":
            self._process = services.pluggable(entry["type"].partition(".")[2])
            self.variables["sockets"] = str(self._process.socket.parent)
        elif entry.get("outside") == "python-file":
            self.variables["examples"] = str(EXAMPLES / "python")
        for name, content in entry.get("files", {}).items():
            (folder / name).write_text(content)
        self._made: list[Component] = []
        self._lacks = frozenset(entry.get("lacks", ()))

    def properties(self, more: Mapping[str, str]) -> dict[str, str]:
        """The entry's metadata with its variables filled in."""
        return self.filled({**self.entry.get("metadata", {}), **more})

    def filled(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Texts of the entry with its variables filled in."""
        found = dict(texts)
        for name, value in found.items():
            for variable, text in self.variables.items():
                value = value.replace("${" + variable + "}", text)
            found[name] = value
        return found

    async def component(self, **more: str) -> Any:
        """A new component, open; closed with the others."""
        if self.entry.get("needs") == _API_SERVER and "namespace" not in self.variables:
            await self._fill_cluster()
        properties = self.properties(more)
        # A process knows its instances by their names.
        name = f"c-{uuid.uuid4().hex[:8]}" if self._process is not None else "c"
        version = self.entry.get("version", "v1")
        made = await make(self.entry["type"], version, properties, name)
        await made.open()
        self._made.append(made)
        if self._process is not None and hasattr(made, "subscribe"):
            self._process.follow(made, name)
        return made

    async def _fill_cluster(self) -> None:
        """A namespace with what the entry says is known."""
        server = self.services.kubernetes()
        cluster = Cluster(server)
        namespace = await cluster.namespace("conformance")
        for name, value in self.entry["known"].items():
            secret = {"metadata": {"name": name}, "stringData": {name: value}}
            await cluster.client.create(SECRETS, secret, namespace)
        await cluster.client.close()
        self.variables |= {"kubeconfig": str(server.admin), "namespace": namespace}

    def promises(self, feature: str) -> bool:
        """Whether the entry declares a feature."""
        return feature in self.entry.get("features", ()) and feature not in self._lacks

    def require(self, feature: str) -> None:
        """Skip the test unless the entry declares the feature."""
        if not self.promises(feature):
            who = entry_id(self.entry)
            if feature in self._lacks:
                pytest.skip(f"what {who} runs on here lacks {feature}")
            pytest.skip(f"{who} does not declare {feature}")

    async def close(self) -> None:
        """Close everything that was made."""
        await asyncio.gather(*(made.close() for made in self._made))


def running_services() -> Iterator[Services]:
    """The body of a fixture."""
    found = Services()
    yield found
    found.close()


async def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    """Wait for what no event tells of."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
