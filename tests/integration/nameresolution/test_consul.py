"""Consul: the resolver against a real agent, and sidecars that find each other by it."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from harness.app import RecordingApp
from harness.consul import Consul, consul_program
from harness.http_call import call
from harness.sidecar import Sidecar

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import decode_settings
from dapr_sidecar.components.nameresolution.base import Instance
from dapr_sidecar.components.nameresolution.consul import ConsulResolver
from dapr_sidecar.components.nameresolution.consul.agent import Agent, AgentError
from dapr_sidecar.components.nameresolution.consul.settings import ConsulSettings, QueryOptions

pytestmark = pytest.mark.skipif(not consul_program(), reason="consul is not installed")
ME = Instance("shop", "default", "127.0.0.1", 3500, 50002, 8080)


@pytest.fixture(scope="module")
def consul() -> Iterator[Consul]:
    with Consul() as agent:
        yield agent


@asynccontextmanager
async def resolver(agent: Consul, **given: Any) -> AsyncIterator[ConsulResolver]:
    given.setdefault("Client", {"Address": agent.address})
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in given.items()}
    made = ConsulResolver(decode_settings(ConsulSettings, texts), ComponentContext("consul", "me"))
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def until(made: ConsulResolver, app_id: str, accept: Callable[[set[str]], bool]) -> None:
    """Ask until the answers of a moment are as wanted."""
    async with asyncio.timeout(30):
        while True:
            try:
                seen = {await made.resolve(app_id, "", 0) for _ in range(20)}
            except LookupError:
                seen = set()
            if accept(seen):
                return
            await asyncio.sleep(0.02)


async def test_registration_is_made_found_and_taken_back(consul: Consul) -> None:
    async with resolver(consul, selfRegister=True, selfDeregister=True, tags=["t"]) as made:
        await made.register(ME)
        [service] = [
            service
            for service in consul.get("agent/services").json.values()
            if service["Service"] == "shop"
        ]
        assert service["ID"] == "shop-127.0.0.1-3500"
        assert (service["Address"], service["Port"]) == ("127.0.0.1", 8080)
        assert (service["Tags"], service["Meta"]) == (["t"], {"DAPR_PORT": "50002"})
        check = consul.get("agent/checks").json["daprHealth:shop-127.0.0.1-3500"]
        assert check["Name"] == "Dapr Health Status"
        assert check["Interval"] == "15s"
        # Nothing answers on that port: a sidecar that is not healthy is not found.
        with pytest.raises(LookupError, match=r"^no healthy services found with AppID 'shop'$"):
            await made.resolve("shop", "", 0)
    assert consul.get("health/service/shop").json == []


async def test_a_registration_stays_unless_told_otherwise(consul: Consul) -> None:
    advanced = {"name": "stays", "id": "stays-1", "checks": [{"ttl": "1m", "status": "passing"}]}
    async with resolver(consul, advancedRegistration=advanced) as made:
        await made.register(ME)
    async with resolver(consul) as made:
        await made.register(ME)  # only asks whether the agent is there
        node = consul.get("agent/self").json["Member"]["Addr"]
        assert await made.resolve("stays", "", 0) == f"{node}:50002"
    consul.deregister("stays-1")


async def test_all_healthy_instances_are_used(consul: Consul) -> None:
    for port in (1001, 1002, 1003):
        consul.register("many", port)
    consul.fail_check("many-1003")
    async with resolver(consul) as made:
        await until(made, "many", lambda seen: seen == {"127.0.0.1:1001", "127.0.0.1:1002"})


async def test_query_options_reach_the_agent(consul: Consul) -> None:
    consul.register("v", 1, "v-1", Meta={"DAPR_PORT": "1", "version": "one"})
    consul.register("v", 2, "v-2", Meta={"DAPR_PORT": "2", "version": "two"})
    options = {"filter": "Service.Meta.version == two", "requireConsistent": True}
    async with resolver(consul, queryOptions=options) as made:
        assert {await made.resolve("v", "", 0) for _ in range(20)} == {"127.0.0.1:2"}
    async with resolver(consul, queryOptions={"filter": "nonsense("}) as made:
        with pytest.raises(LookupError, match=r"^failed to query healthy consul services: .* 500"):
            await made.resolve("v", "", 0)
    async with resolver(consul, daprPortMetaKey="OTHER") as made:
        text = "^target service AppID 'v' found but OTHER missing from meta$"
        with pytest.raises(LookupError, match=text):
            await made.resolve("v", "", 0)


async def test_tokens_are_sent() -> None:
    token = "5d1b7f6e-0000-4000-8000-000000000001"
    with Consul(token) as agent:
        where = {"Address": agent.address}
        async with resolver(agent, Client=where) as made:
            with pytest.raises(AgentError, match="answers 403"):
                await made.register(ME)
        async with resolver(agent, Client={**where, "Token": token}) as made:
            await made.register(ME)
            with pytest.raises(LookupError, match="no healthy services"):
                await made.resolve("nobody", "", 0)
        async with resolver(agent, Client=where, QueryOptions={"Token": "wrong"}) as made:
            with pytest.raises(LookupError, match="answers 403"):
                await made.resolve("nobody", "", 0)


async def test_every_way_to_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = trustme.CA()
    client = ca.issue_cert("client")
    files = {"CAFile": ca.cert_pem, "CertFile": client.cert_chain_pems[0]}
    for name, pem in (files | {"KeyFile": client.private_key_pem}).items():
        pem.write_to_path(tmp_path / name)
    named = {name: str(tmp_path / name) for name in ("CAFile", "CertFile", "KeyFile")}
    with Consul(ca=ca) as agent:
        https = f"https://127.0.0.1:{agent.https_port}"
        tls = {**named, "Address": "server.dc1.consul"}
        for address in (agent.address, f"http://{agent.address}", f"unix://{agent.socket}", https):
            async with resolver(agent, Client={"Address": address, "TLSConfig": tls}) as made:
                await made.register(ME)
        for wrong, text in (
            ({**tls, "Address": "elsewhere.consul"}, "certificate is not valid for"),
            ({**tls, "CAFile": ""}, "certificate verify failed"),
            ({"CAFile": named["CAFile"], "Address": tls["Address"]}, "cannot be asked"),
        ):
            async with resolver(agent, Client={"Address": https, "TLSConfig": wrong}) as made:
                with pytest.raises(AgentError, match=text):
                    await made.register(ME)
        loose = {**named, "CAFile": "", "InsecureSkipVerify": True}
        async with resolver(agent, Client={"Address": https, "TLSConfig": loose}) as made:
            await made.register(ME)
        monkeypatch.setenv("CONSUL_HTTP_ADDR", agent.address)
        async with resolver(agent, Client={}) as made:
            await made.register(ME)


# --- the sidecar's own cache --------------------------------------------------------------------


async def test_the_cache_follows_the_catalogue(consul: Consul) -> None:
    consul.register("fresh", 1)
    consul.register("other", 9)
    one, two = "127.0.0.1:1", "127.0.0.1:2"
    async with resolver(consul, useCache=True) as made:
        assert await made.resolve("fresh", "", 0) == one
        assert await made.resolve("other", "", 0) == "127.0.0.1:9"
        assert made._cache is not None
        async with asyncio.timeout(30):
            while made._cache.pick("fresh") is None or made._cache.pick("other") is None:
                await asyncio.sleep(0.01)
        consul.register("fresh", 2)
        await until(made, "fresh", {one, two}.__eq__)
        consul.fail_check("fresh-1")
        await until(made, "fresh", {two}.__eq__)
        consul.pass_check("fresh-1")
        await until(made, "fresh", {one, two}.__eq__)
        consul.deregister("fresh-2")
        await until(made, "fresh", {one}.__eq__)
        consul.deregister("fresh-1")
        await until(made, "fresh", set().__eq__)
        assert made._cache.pick("other") == "127.0.0.1:9"


@pytest.mark.slow
async def test_a_quiet_catalogue_is_not_polled(
    consul: Consul, monkeypatch: pytest.MonkeyPatch
) -> None:
    consul.register("quiet", 1)
    asked = 0
    check_states = Agent.check_states

    async def counted(agent: Agent, options: QueryOptions) -> tuple[list[Any], int]:
        nonlocal asked
        asked += 1
        return await check_states(agent, options)

    monkeypatch.setattr(Agent, "check_states", counted)
    async with resolver(consul, useCache=True) as made:
        await made.resolve("quiet", "", 0)
        await asyncio.sleep(4)
        assert 1 <= asked <= 3  # the agent settles; a poll would be one a second
        before = asked
        consul.register("quiet", 2)
        both = {"127.0.0.1:1", "127.0.0.1:2"}
        await until(made, "quiet", both.__eq__)
        assert asked > before


async def test_known_addresses_need_no_agent(consul: Consul) -> None:
    """And an address that failed is read again."""
    consul.register("known", 1)
    async with resolver(consul, useCache=True) as made:
        await made.resolve("known", "", 0)
        cache = made._cache
        assert cache is not None

        async def filled() -> None:
            async with asyncio.timeout(30):
                while cache.pick("known") is None:
                    await asyncio.sleep(0.01)

        await filled()
        agent, made._agent = made._agent, None  # type: ignore[assignment]
        assert await made.resolve("known", "", 0) == "127.0.0.1:1"
        made._agent = agent
        made.forget("known", "", "127.0.0.1:1")
        assert cache.pick("known") is None
        await filled()


@pytest.mark.slow
async def test_an_agent_that_restarts_is_followed_again(caplog: pytest.LogCaptureFixture) -> None:
    with Consul() as agent:
        agent.register("back", 1)
        async with resolver(agent, useCache=True) as made:
            await made.resolve("back", "", 0)
            cache = made._cache
            assert cache is not None
            async with asyncio.timeout(30):
                while cache.pick("back") is None:
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(agent.stop)
            async with asyncio.timeout(30):
                while cache.pick("back") is not None:
                    await asyncio.sleep(0.01)
            assert any("not watched for 5 s" in text for text in caplog.messages)
            with pytest.raises(LookupError, match="failed to query healthy consul services"):
                await made.resolve("back", "", 0)
            agent.start()
            await asyncio.to_thread(agent.wait_ready)
            agent.register("back", 2)
            agent.pass_check("back-1")  # a TTL is not known across a restart
            both = {"127.0.0.1:1", "127.0.0.1:2"}
            await until(made, "back", both.__eq__)  # at once: the agent is asked for each call
            async with asyncio.timeout(30):
                while cache.pick("back") is None:
                    await asyncio.sleep(0.01)
            assert {cache.pick("back") for _ in range(40)} == both


# --- sidecars -----------------------------------------------------------------------------------


def configuration(agent: Consul, port: int, **more: Any) -> dict[str, Any]:
    """Every sidecar registers, with a check that is quick to see its end."""
    check = {
        "name": "health",
        "interval": "200ms",
        "timeout": "1s",
        "http": f"http://127.0.0.1:{port}/v1.0/healthz",
    }
    given = {
        "client": {"address": agent.address},
        "selfRegister": True,
        "selfDeregister": True,
        "checks": [check],
        **more,
    }
    return {"nameResolution": {"component": "consul", "configuration": given}}


class ConsulSidecar(Sidecar):
    """Registered at an agent."""

    def __init__(self, agent: Consul, app_port: int, app_id: str = "", **more: Any) -> None:
        self._agent = agent
        self._more = more
        super().__init__(app_id, app_port=app_port, config={})

    def _write(self, resources: Any, config: Any) -> None:
        super()._write(resources, configuration(self._agent, self.http_port, **self._more))


def wait_status(sidecar: Sidecar, app_id: str, accept: Callable[[int, bytes], bool]) -> bytes:
    """Call an application until the answer is as wanted."""
    until = time.monotonic() + 40
    while True:
        answer = call(sidecar.http_port, "GET", f"/v1.0/invoke/{app_id}/method/m")
        if accept(answer.status, answer.body):
            return answer.body
        assert time.monotonic() < until, answer
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("use_cache", [False, True])
def test_sidecars_call_each_other_until_one_is_killed(consul: Consul, use_cache: bool) -> None:
    routes = {"GET /m": {"status": 200, "body": "hello"}}
    with (
        RecordingApp(routes) as app,
        ConsulSidecar(consul, app.port, useCache=use_cache) as first,
        ConsulSidecar(consul, app.port, useCache=use_cache) as second,
    ):
        for caller, callee in ((first, second), (second, first)):
            wait_status(caller, callee.app_id, lambda status, _: status == 200)
        second.exit_code = None
        second.signal(signal.SIGKILL)
        body = wait_status(first, second.app_id, lambda _, body: b"no healthy services" in body)
        assert json.loads(body)["errorCode"] == "ERR_DIRECT_INVOKE"
        assert f"no healthy services found with AppID '{second.app_id}'".encode() in body
        consul.deregister(f"{second.app_id}-127.0.0.1-{second.http_port}")
    assert consul.get(f"health/service/{first.app_id}").json == []


@pytest.mark.slow
def test_a_sidecar_without_its_agent_keeps_running() -> None:
    where = {"client": {"address": "127.0.0.1:1"}}
    config = {"nameResolution": {"component": "hashicorp.consul", "configuration": where}}
    with Sidecar(config=config) as sidecar:
        sidecar.wait_line("name resolution could not be started, invocation will fail")
        answer = call(sidecar.http_port, "GET", "/v1.0/invoke/other/method/m")
        assert b"name resolver not initialized" in answer.body
