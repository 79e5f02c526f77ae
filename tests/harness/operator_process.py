"""A real dapr-operator beside a real API server and sentry, and what a sidecar does with it."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import orjson
import yaml
from google.protobuf.message import Message
from harness.apiserver import ApiServer
from harness.kube_cluster import CRDS
from harness.programs import Program, console_script, free_port
from harness.sentry import Sentry

from dapr_common.grpc.client import Call, GrpcChannel
from dapr_common.grpc.wire import frame
from dapr_common.kube.api_errors import NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import Selection
from dapr_common.security.svid import Svid
from dapr_common.security.tls import TlsContexts, peer_id
from dapr_common.wire.dapr.proto.operator.v1 import operator_pb2 as pb
from dapr_common.wire.daprpy.operator.v1.status_pb2 import ResourceStatus, SidecarReport
from dapr_operator.kinds import DAPR_KINDS

_CRDS = Path(__file__).parents[2] / "crds"
_REPORT = "/daprpy.operator.v1.SidecarStatus/Report"
_SERVICE = "/dapr.proto.operator.v1.Operator/"


async def install_all_crds(client: KubeClient) -> None:
    """Every kind of Dapr's, as ``crds/`` has it, and wait until all are served."""
    for path in sorted(_CRDS.glob("*.yaml")):
        definition = yaml.safe_load(path.read_text())
        await client.patch(
            CRDS,
            definition["metadata"]["name"],
            definition,
            patch_kind="apply",
            field_manager="tests",
        )
    async with asyncio.timeout(60):
        for kind in DAPR_KINDS:
            await _served(client, Selection(kind.kind))


async def _served(client: KubeClient, selection: Selection) -> None:
    while True:
        try:
            await client.list_all(selection)
        except NotFoundError:  # established a moment ago
            await asyncio.sleep(0.05)
        else:
            return


class Operator(Program):
    """One operator on free ports, with the administrator's login."""

    def __init__(
        self,
        server: ApiServer,
        sentry: Sentry,
        *,
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        exit_code: int | None = 0,
        ready: bool = True,
        kubeconfig: Path | None = None,
        port: int = 0,
    ) -> None:
        self.port = port or free_port()
        self.health_port, self.metrics_port = free_port(), free_port()
        self._ready = ready
        values: dict[str, object] = {
            "kubeconfig": kubeconfig or server.admin,
            "port": self.port,
            "listen-address": "127.0.0.1",
            "healthz-port": self.health_port,
            "metrics-port": self.metrics_port,
            "trust-anchors-file": sentry.credentials / "ca.crt",
            "log-level": "debug",
        }
        command = [console_script("dapr-operator")]
        command += [f"--{name}={value}" for name, value in values.items()]
        super().__init__(
            [*command, *flags],
            name="dapr-operator",
            env={"NAMESPACE": sentry.namespace, "ENABLE_WEBHOOKS": "false", **(env or {})},
            exit_code=exit_code,
        )

    def is_ready(self) -> bool:
        return not self._ready or self.health() == 200

    def health(self) -> int:
        """The status of ``/healthz``, 0 when there is no answer."""
        return self._get(self.health_port, "/healthz")[0]

    def metrics(self) -> dict[str, float]:
        """Sample with labels → value, as the text has them."""
        text = self._get(self.metrics_port, "/metrics")[1]
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines if name}

    async def counted(self, name: str, value: float) -> None:
        """Wait until a sample has this value: what was done is seen before it is counted."""
        async with asyncio.timeout(40):
            while (found := (await asyncio.to_thread(self.metrics)).get(name, 0)) < value:
                await asyncio.sleep(0.02)
        assert found == value, name

    def _get(self, port: int, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()


class OperatorStream:
    """One stream of events; each comes as its type and the object."""

    def __init__(self, call: Call, event_type: type[Any]) -> None:
        self.call = call
        self._type = event_type

    async def next(self, seconds: float = 40.0) -> tuple[str, dict[str, Any]]:
        """The next event. Raises ``TimeoutError``, ``EOFError`` at the end, ``RpcError``."""
        try:
            async with asyncio.timeout(seconds):
                raw = await anext(self.call)
        except StopAsyncIteration:
            raise EOFError("the stream has ended") from None
        event = self._type.FromString(raw)
        field = next(one.name for one in event.DESCRIPTOR.fields if one.name != "type")
        kind = pb.ResourceEventType.Name(event.type)
        return kind, orjson.loads(getattr(event, field))


class OperatorClient:
    """A sidecar, as the operator sees it: one connection with an identity of sentry."""

    def __init__(self, port: int, svid: Svid, server_id: str) -> None:
        self.namespace, self.app_id = svid.id.namespace, svid.id.app_id
        self._contexts = TlsContexts()
        self._contexts.install(svid)
        self.peer = ""
        self._server_id = server_id
        self.channel = GrpcChannel(
            f"127.0.0.1:{port}", ssl=self._contexts.client, verify_peer=self._verify
        )

    def _verify(self, tls: Any) -> None:
        self.peer = str(peer_id(tls))
        assert self.peer == self._server_id, self.peer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    async def call(self, method: str, request: Message, response: type[Message]) -> Any:
        """One answer. Raises ``RpcError``."""
        result = await self.channel.unary(_SERVICE + method, request, response, timeout=30.0)
        return result.message

    async def components(self, namespace: str | None = None) -> dict[str, dict[str, Any]]:
        """By name."""
        asked = self.namespace if namespace is None else namespace
        request = pb.ListComponentsRequest(namespace=asked)
        found = await self.call("ListComponents", request, pb.ListComponentResponse)
        return by_name(found.components)

    async def configuration(self, name: str) -> dict[str, Any]:
        """One Configuration."""
        request = pb.GetConfigurationRequest(name=name, namespace=self.namespace)
        found = await self.call("GetConfiguration", request, pb.GetConfigurationResponse)
        return dict(orjson.loads(found.configuration))

    @asynccontextmanager
    async def stream(
        self, kind: str, namespace: str | None = None
    ) -> AsyncIterator[OperatorStream]:
        """Follow a kind, such as ``Component``; entered once nothing is missed any longer."""
        request = getattr(pb, f"{kind}UpdateRequest")(
            namespace=self.namespace if namespace is None else namespace
        )
        call = await self.channel.open(
            f"{_SERVICE}{kind}Update", frames=frame(request.SerializeToString()), timeout=600.0
        )
        try:
            async with asyncio.timeout(40):
                await call.initial_metadata()
            yield OperatorStream(call, getattr(pb, f"{kind}UpdateEvent"))
        finally:
            call.cancel()

    @asynccontextmanager
    async def reporting(self, pod: str) -> AsyncIterator[Callable[..., Awaitable[None]]]:
        """A stream of reports; call it with (kind, name, state, message) of each resource."""
        call = await self.channel.open(_REPORT)

        async def report(*resources: tuple[str, str, Any, str]) -> None:
            states = [
                ResourceStatus(kind=kind, name=name, state=state, message=message)
                for kind, name, state, message in resources
            ]
            await call.send(SidecarReport(namespace=self.namespace, pod=pod, resources=states))

        try:
            yield report
        finally:
            call.cancel()


def by_name(bodies: Sequence[bytes]) -> dict[str, dict[str, Any]]:
    """Objects by name."""
    return {one["metadata"]["name"]: one for one in map(orjson.loads, bodies)}
