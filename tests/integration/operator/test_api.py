"""Lists and streams of a real operator over a real API server, asked as a sidecar asks."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import grpc
import orjson
import pytest
from google.protobuf.empty_pb2 import Empty
from harness.authorities import Authority
from harness.operator_process import Operator, OperatorClient

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.security.x509 import write_certificates, write_private_key
from dapr_common.wire.dapr.proto.operator.v1 import operator_pb2 as pb
from dapr_operator.kinds import (
    COMPONENT,
    CONFIGURATION,
    HTTP_ENDPOINT,
    MCP_SERVER,
    RESILIENCY,
    SUBSCRIPTION,
    WORKFLOW_ACCESS_POLICY,
    DaprKind,
)

ANY = [{"name": "*", "operations": ["schedule"]}]
SPECS: dict[DaprKind, dict[str, Any]] = {
    COMPONENT: {"spec": {"type": "state.in-memory", "version": "v1", "metadata": []}},
    HTTP_ENDPOINT: {"spec": {"baseUrl": "https://example.com"}},
    MCP_SERVER: {"spec": {"endpoint": {"streamableHTTP": {"url": "https://example.com/mcp"}}}},
    RESILIENCY: {"spec": {"policies": {"timeouts": {"short": "1s"}}, "targets": {}}},
    SUBSCRIPTION: {"spec": {"pubsubname": "p", "topic": "t", "routes": {"default": "/t"}}},
    WORKFLOW_ACCESS_POLICY: {
        "spec": {"rules": [{"callers": [{"appID": "orders"}], "workflows": ANY}]}
    },
}
LISTS = {
    COMPONENT: ("ListComponents", pb.ListComponentsRequest, pb.ListComponentResponse),
    HTTP_ENDPOINT: (
        "ListHTTPEndpoints",
        pb.ListHTTPEndpointsRequest,
        pb.ListHTTPEndpointsResponse,
    ),
    MCP_SERVER: ("ListMCPServers", pb.ListMCPServersRequest, pb.ListMCPServersResponse),
    RESILIENCY: ("ListResiliency", pb.ListResiliencyRequest, pb.ListResiliencyResponse),
    SUBSCRIPTION: (
        "ListSubscriptionsV2",
        pb.ListSubscriptionsRequest,
        pb.ListSubscriptionsResponse,
    ),
    WORKFLOW_ACCESS_POLICY: (
        "ListWorkflowAccessPolicy",
        pb.ListWorkflowAccessPolicyRequest,
        pb.ListWorkflowAccessPolicyResponse,
    ),
}


async def listed(sidecar: OperatorClient, kind: DaprKind) -> dict[str, Any]:
    method, request, response = LISTS[kind]
    found: Any = await sidecar.call(method, request(namespace=sidecar.namespace), response)
    (field,) = response.DESCRIPTOR.fields
    return {
        body["metadata"]["name"]: body for body in map(orjson.loads, getattr(found, field.name))
    }


async def known(sidecar: OperatorClient, name: str) -> dict[str, Any]:
    """A component that was applied a moment ago; the operator hears of it by its watch."""
    async with asyncio.timeout(30):
        while name not in (found := await sidecar.components()):
            await asyncio.sleep(0.01)
    return found[name]


async def test_every_kind_from_list_to_deletion(place: Any, operator: Operator) -> None:
    async with await place.sidecar(operator) as sidecar:
        for kind, body in SPECS.items():
            async with sidecar.stream(kind.word) as stream:
                await place.apply(kind.kind, kind.word, "one", body)
                event, found = await stream.next()
                assert (event, found["metadata"]["name"]) == ("CREATED", "one"), kind.word
                assert found["spec"] == (await listed(sidecar, kind))["one"]["spec"]
                patch = {"metadata": {"labels": {"seen": "yes"}}}
                await place.cluster.client.patch(kind.kind, "one", patch, place.apps)
                event, found = await stream.next()
                assert event == "UPDATED", kind.word
                assert found["metadata"]["labels"] == {"seen": "yes"}
                await place.cluster.client.delete(kind.kind, "one", place.apps)
                event, found = await stream.next()
                assert (event, found["metadata"]["name"]) == ("DELETED", "one"), kind.word
                assert await listed(sidecar, kind) == {}


async def test_scopes_decide_what_an_app_is_told(place: Any, operator: Operator) -> None:
    async with await place.sidecar(operator) as sidecar, sidecar.stream("Component") as stream:
        await place.component("store", scopes=["payments"])
        await place.component("marker-1")
        assert (await stream.next())[1]["metadata"]["name"] == "marker-1"
        assert "store" not in await sidecar.components()
        await place.component("store", scopes=["payments", "orders"])
        assert (await stream.next())[0] == "CREATED"
        assert "store" in await sidecar.components()
        await place.component("store", scopes=["payments"])
        event, body = await stream.next()
        assert event == "DELETED"
        assert body["scopes"] == ["payments", "orders"], "the object as the app knew it"


async def test_what_may_hold_secrets_is_only_for_its_scopes(place: Any, operator: Operator) -> None:
    async with await place.sidecar(operator) as sidecar:
        for kind in (COMPONENT, HTTP_ENDPOINT, MCP_SERVER):
            async with sidecar.stream(kind.word) as stream:
                body = SPECS[kind]
                await place.apply(kind.kind, kind.word, "theirs", {**body, "scopes": ["payments"]})
                await place.apply(kind.kind, kind.word, "ours", {**body, "scopes": ["orders"]})
                assert (await stream.next())[1]["metadata"]["name"] == "ours", kind.word
            assert set(await listed(sidecar, kind)) == {"ours"}, kind.word


async def test_other_namespaces_are_nobody_s_business(place: Any, operator: Operator) -> None:
    other = await place.cluster.namespace("other")
    async with await place.sidecar(operator) as sidecar, sidecar.stream("Component") as stream:
        await place.component("theirs", namespace=other)
        await place.component("ours")
        assert (await stream.next())[1]["metadata"]["name"] == "ours"
        assert set(await sidecar.components()) == {"ours"}


async def test_requests_about_another_namespace_are_refused(place: Any, operator: Operator) -> None:
    words = f"identity does not match requested namespace exp=default got={place.apps}"
    async with await place.sidecar(operator) as sidecar:
        for kind, (method, request, response) in LISTS.items():
            with pytest.raises(RpcError) as caught:
                await sidecar.call(method, request(namespace="default"), response)
            assert (caught.value.code, caught.value.message) == (
                GrpcCode.PERMISSION_DENIED,
                words,
            ), kind.word
        for kind in (*LISTS, CONFIGURATION):
            async with sidecar.stream(kind.word, "default") as stream:
                with pytest.raises(RpcError) as caught:
                    await stream.next()
            assert caught.value.code == GrpcCode.PERMISSION_DENIED
            prefix = "failed to authorize configuration update request: "
            assert caught.value.message.removeprefix(prefix) == words
        with pytest.raises(RpcError) as caught:
            await sidecar.components("")
        assert caught.value.code == GrpcCode.PERMISSION_DENIED
        with pytest.raises(RpcError) as caught:
            await sidecar.call("ListSubscriptions", Empty(), pb.ListSubscriptionsResponse)
        assert caught.value.code == GrpcCode.PERMISSION_DENIED


async def test_certificates_of_other_authorities_get_nowhere(
    place: Any, operator: Operator
) -> None:
    ours = await place.svid("orders")
    forged = Authority.root().svid(str(ours.id), anchors=ours.anchors)
    async with OperatorClient(
        operator.port, forged, "spiffe://cluster.local/ns/dapr-system/dapr-operator"
    ) as sidecar:
        with pytest.raises(RpcError) as caught:
            await sidecar.components()
        assert caught.value.code == GrpcCode.UNAVAILABLE


async def test_grpcio_as_a_client(place: Any, operator: Operator) -> None:
    """What foreign sidecars do, with their own TLS and HTTP/2."""
    await place.component("store")
    async with await place.sidecar(operator) as sidecar:
        await known(sidecar, "store")
    svid = await place.svid("orders")
    credentials = grpc.ssl_channel_credentials(
        place.sentry.anchors_pem, write_private_key(svid.key), write_certificates(svid.chain)
    )
    options = [("grpc.ssl_target_name_override", "dapr-webhook.dapr-system.svc")]

    def ask() -> tuple[list[bytes], Any]:
        target = f"127.0.0.1:{operator.port}"
        with grpc.secure_channel(target, credentials, options) as channel:
            service = "/dapr.proto.operator.v1.Operator/"
            follow = channel.unary_stream(
                f"{service}ComponentUpdate",
                request_serializer=pb.ComponentUpdateRequest.SerializeToString,
                response_deserializer=pb.ComponentUpdateEvent.FromString,
            )(pb.ComponentUpdateRequest(namespace=place.apps), timeout=30)
            follow.initial_metadata()
            listing = channel.unary_unary(
                f"{service}ListComponents",
                request_serializer=pb.ListComponentsRequest.SerializeToString,
                response_deserializer=pb.ListComponentResponse.FromString,
            )(pb.ListComponentsRequest(namespace=place.apps), timeout=30)
            asyncio.run_coroutine_threadsafe(place.component("later"), loop).result(30)
            found = next(event for event in follow if named(event) == "later")
            follow.cancel()
            return list(listing.components), found

    def named(event: Any) -> str:
        return str(orjson.loads(event.component)["metadata"]["name"])

    loop = asyncio.get_running_loop()
    listing, event = await asyncio.to_thread(ask)
    assert [orjson.loads(one)["metadata"]["name"] for one in listing] == ["store"]
    assert event.type == pb.ResourceEventType.CREATED


# --- secrets ----------------------------------------------------------------------------------


def reference(name: str, key: str) -> dict[str, str]:
    return {"name": name, "key": key}


async def test_values_of_secrets(place: Any, operator: Operator) -> None:
    await place.secret("redis", password="s3cret")
    entry = {"name": "redisPassword", "secretKeyRef": reference("redis", "password")}
    async with await place.sidecar(operator) as sidecar, sidecar.stream("Component") as stream:
        await place.component("store", [entry])
        sent = (await stream.next())[1]
        for body in (sent, (await sidecar.components())["store"]):
            found = body["spec"]["metadata"][0]
            assert base64.b64decode(found["value"]) == b"s3cret"
            assert found["secretKeyRef"] == entry["secretKeyRef"]
        await place.component("vault", [entry], auth={"secretStore": "vault"})
        assert "value" not in (await stream.next())[1]["spec"]["metadata"][0]
    assert "s3cret" not in operator.log
    assert base64.b64encode(b"s3cret").decode() not in operator.log


async def test_a_changed_secret_is_what_the_next_sidecar_gets(
    place: Any, operator: Operator
) -> None:
    await place.secret("redis", password="old")
    entry = {"name": "p", "secretKeyRef": reference("redis", "password")}
    await place.component("store", [entry])

    async def value() -> bytes:
        async with await place.sidecar(operator) as sidecar:
            found = await known(sidecar, "store")
        return base64.b64decode(found["spec"]["metadata"][0]["value"])

    assert await value() == b"old"
    await place.secret("redis", password="new")
    async with asyncio.timeout(30):
        while await value() != b"new":
            await asyncio.sleep(0.1)


async def test_one_missing_secret_keeps_nothing_else_away(place: Any, operator: Operator) -> None:
    """And what waited for it arrives when it is there."""
    entry = {"name": "p", "secretKeyRef": reference("later", "password")}
    async with await place.sidecar(operator) as sidecar, sidecar.stream("Component") as stream:
        await place.component("incomplete", [entry])
        event, body = await stream.next()
        assert event == "CREATED"
        assert "value" not in body["spec"]["metadata"][0]
        await place.component("complete")
        assert (await stream.next())[1]["metadata"]["name"] == "complete"
        assert set(await sidecar.components()) == {"incomplete", "complete"}
        operator.wait_line("Component " + f"{place.apps}/incomplete lacks values: p: there is no")
        await place.secret("later", password="s3cret")
        event, body = await stream.next()
        assert (event, body["metadata"]["name"]) == ("UPDATED", "incomplete")
        assert base64.b64decode(body["spec"]["metadata"][0]["value"]) == b"s3cret"


# --- configurations ---------------------------------------------------------------------------

TRACING = {
    "tracing": {
        "samplingRate": "1",
        "otel": {
            "endpointAddress": "collector:4317",
            "isSecure": True,
            "protocol": "grpc",
            "headers": [{"name": "api-key", "secretKeyRef": reference("otel", "key")}],
        },
    }
}


async def configuration(place: Any, name: str, spec: dict[str, Any]) -> None:
    await place.apply(CONFIGURATION.kind, "Configuration", name, {"spec": spec})


async def refused_configuration(sidecar: OperatorClient) -> str:
    with pytest.raises(RpcError) as caught:
        await sidecar.configuration("tracing")
    assert caught.value.code == GrpcCode.UNKNOWN
    return caught.value.message


async def test_configuration_with_headers_of_a_secret(place: Any, operator: Operator) -> None:
    await configuration(place, "tracing", TRACING)
    async with await place.sidecar(operator) as sidecar:
        while "there is no Configuration" in (text := await refused_configuration(sidecar)):
            await asyncio.sleep(0.01)
        assert "header api-key: there is no secret 'otel'" in text
        await place.secret("otel", key="plain text")
        async with asyncio.timeout(30):
            while True:
                try:
                    found = await sidecar.configuration("tracing")
                    break
                except RpcError:
                    await asyncio.sleep(0.1)
        (header,) = found["spec"]["tracing"]["otel"]["headers"]
        assert header["value"] == "plain text"


async def test_a_configuration_that_is_not_there(place: Any, operator: Operator) -> None:
    async with await place.sidecar(operator) as sidecar:
        with pytest.raises(RpcError) as caught:
            await sidecar.configuration("none")
        assert caught.value.code == GrpcCode.UNKNOWN
        assert f"no Configuration 'none' in namespace '{place.apps}'" in caught.value.message


async def pod(place: Any, name: str, annotations: dict[str, str]) -> None:
    await place.cluster.account(place.apps, name)
    await place.cluster.pod(place.apps, name, name, {"dapr.io/enabled": "true", **annotations})


async def test_only_the_assigned_configuration_is_followed(place: Any) -> None:
    await pod(place, "orders-1", {"dapr.io/app-id": "orders", "dapr.io/config": "mine"})
    async with (
        place.operator() as operator,  # which is ready when it knows the pods there are
        await place.sidecar(operator) as sidecar,
        sidecar.stream("Configuration") as stream,
    ):
        rate = {"tracing": {"samplingRate": "1"}}
        await configuration(place, "theirs", rate)
        await configuration(place, "mine", rate)
        event, body = await stream.next()
        assert (event, body["metadata"]["name"]) == ("CREATED", "mine")
        await configuration(place, "mine", {"tracing": {"samplingRate": "0.5"}})
        event, body = await stream.next()
        assert event == "UPDATED"
        assert body["spec"]["tracing"]["samplingRate"] == "0.5"


async def test_resiliency_by_name(place: Any, operator: Operator) -> None:
    await place.apply(RESILIENCY.kind, "Resiliency", "policies", SPECS[RESILIENCY])
    async with await place.sidecar(operator) as sidecar:
        async with asyncio.timeout(30):
            while not await listed(sidecar, RESILIENCY):
                await asyncio.sleep(0.01)
        request = pb.GetResiliencyRequest(name="policies", namespace=place.apps)
        found = await sidecar.call("GetResiliency", request, pb.GetResiliencyResponse)
        assert orjson.loads(found.resiliency)["spec"] == SPECS[RESILIENCY]["spec"]
        request = pb.GetResiliencyRequest(name="none", namespace=place.apps)
        with pytest.raises(RpcError) as caught:
            await sidecar.call("GetResiliency", request, pb.GetResiliencyResponse)
        assert caught.value.code == GrpcCode.UNKNOWN


# --- streams ----------------------------------------------------------------------------------


async def test_a_status_is_no_change(place: Any, operator: Operator) -> None:
    async with await place.sidecar(operator) as sidecar, sidecar.stream("Component") as stream:
        await place.component("store")
        await stream.next()
        patch = {"status": {"loaded": "1/1"}}
        await place.cluster.client.patch(COMPONENT.kind, "store", patch, place.apps, part="status")
        await place.component("later")
        assert (await stream.next())[1]["metadata"]["name"] == "later"


async def test_streams_end_when_the_operator_stops(place: Any) -> None:
    operator = place.operator()
    async with (
        operator,
        await place.sidecar(operator) as sidecar,
        sidecar.stream("Component") as stream,
    ):
        await asyncio.to_thread(operator.stop)
        with pytest.raises(RpcError) as caught:
            await stream.next()
        assert caught.value.code == GrpcCode.UNAVAILABLE
        assert caught.value.message == "operator is shutting down"
