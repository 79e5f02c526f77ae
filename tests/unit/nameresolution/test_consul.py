from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from harness.programs import free_port

from dapr_common.http.messages import Request, Response
from dapr_common.http.server import HttpServer
from dapr_sidecar.components.metadata import SettingsError, decode_settings
from dapr_sidecar.components.nameresolution.base import Instance
from dapr_sidecar.components.nameresolution.consul import instances, query
from dapr_sidecar.components.nameresolution.consul.agent import Agent, AgentError
from dapr_sidecar.components.nameresolution.consul.cache import (
    ServiceCache,
    service_filter,
    signatures,
)
from dapr_sidecar.components.nameresolution.consul.environment import completed, endpoint
from dapr_sidecar.components.nameresolution.consul.registration import registered_id, registration
from dapr_sidecar.components.nameresolution.consul.settings import (
    ClientSettings,
    ConsulSettings,
    QueryOptions,
    TlsSettings,
)

ME = Instance("shop", "default", "10.0.0.9", 3500, 50002, 8080)


def settings(**given: Any) -> ConsulSettings:
    """As the sidecar hands them over: texts, and JSON for what is not a text."""
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in given.items()}
    return decode_settings(ConsulSettings, texts)


# --- settings -----------------------------------------------------------------------------------


def test_nothing_given() -> None:
    found = settings()
    assert found.client == ClientSettings()
    assert found.query == QueryOptions(use_cache=True)
    assert (found.self_register, found.self_deregister, found.use_cache) == (False, False, False)
    assert found.port_key == "DAPR_PORT"
    assert found.advanced_registration is None


def test_names_ignore_case_at_every_depth() -> None:
    found = settings(
        CLIENT={
            "address": "consul:8501",
            "SCHEME": "https",
            "DataCenter": "east",
            "httpAuth": {"username": "me", "PASSWORD": "secret"},
            "waittime": "1m30s",
            "token": "t-1",
            "tokenfile": "/t",
            "tlsConfig": {
                "address": "server",
                "caFile": "ca",
                "caPath": "dir",
                "certfile": "cert",
                "keyfile": "key",
                "insecureSkipVerify": True,
            },
        },
        selfRegister=True,
        selfDeregister="true",
        useCache=True,
        daprportmetakey="PORT",
        tags=["a", "b"],
    )
    assert found.client == ClientSettings(
        address="consul:8501",
        scheme="https",
        datacenter="east",
        username="me",
        password="secret",
        wait_time=timedelta(seconds=90),
        token="t-1",
        token_file="/t",
        tls=TlsSettings(
            server_name="server",
            ca_file="ca",
            ca_path="dir",
            cert_file="cert",
            key_file="key",
            skip_verify=True,
        ),
    )
    assert (found.self_register, found.self_deregister, found.use_cache) == (True, True, True)
    assert (found.port_key, found.tags) == ("PORT", ("a", "b"))
    for text in (repr(found), repr(found.client), repr(settings(QueryOptions={"token": "t-1"}))):
        assert "secret" not in text
        assert "t-1" not in text


QUERY = {
    "Namespace": "team",
    "Partition": "part",
    "Datacenter": "west",
    "AllowStale": True,
    "RequireConsistent": False,
    "UseCache": True,
    "MaxAge": "30s",
    "StaleIfError": 60_000_000_000,
    "WaitIndex": 7,
    "WaitHash": "abc",
    "WaitTime": "2s",
    "Token": "t-2",
    "Near": "_agent",
    "NodeMeta": {"Rack": "r1", "zone": "z"},
    "RelayFactor": 3,
    "LocalOnly": True,
    "Connect": True,
    "Filter": "Service.Meta.v == 2",
}


def test_every_query_option_reaches_the_http_api() -> None:
    options = settings(QueryOptions=QUERY).query
    assert dict(query.parameters(options)[:-2]) == {
        "ns": "team",
        "partition": "part",
        "dc": "west",
        "stale": "true",
        "index": "7",
        "wait": "2000ms",
        "hash": "abc",
        "near": "_agent",
        "filter": "Service.Meta.v == 2",
        "relay-factor": "3",
        "local-only": "true",
        "connect": "true",
        "cached": "true",
    }
    assert query.parameters(options)[-2:] == [("node-meta", "Rack:r1"), ("node-meta", "zone:z")]
    assert query.headers(options) == {
        "X-Consul-Token": "t-2",
        "Cache-Control": "max-age=30, stale-if-error=60",
    }


def test_consistent_answers_are_never_cached_ones() -> None:
    options = replace(settings(QueryOptions=QUERY).query, require_consistent=True, token="")
    names = [name for name, _ in query.parameters(options)]
    assert "consistent" in names
    assert "cached" not in names
    assert query.headers(options) == {}
    assert query.parameters(QueryOptions()) == []


def test_given_options_replace_the_default_of_cached_answers() -> None:
    assert query.parameters(settings().query) == [("cached", "true")]
    assert query.parameters(settings(QueryOptions={"near": "n"}).query) == [("near", "n")]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"Client": {"HTTPAuth": "me"}}, "'HTTPAuth': expected a mapping, not a text"),
        ({"Client": {"WaitTime": "soon"}}, "'WaitTime': invalid duration"),
        (
            {"QueryOptions": {"RelayFactor": "x"}},
            "'RelayFactor': expected a whole number, not",
        ),
        ({"QueryOptions": [1]}, "expected a mapping, not a list"),
        ({"Checks": [{"Header": {"a": 1}}]}, r"'\[0\].Header.a': expected a list, not a number"),
        ({"Checks": {}}, "expected a list, not a mapping"),
        ({"Meta": {"a": {}}}, "'a': expected a text, not a mapping"),
        ({"AdvancedRegistration": "{"}, "expected a mapping or a list"),
    ],
)
def test_wrong_types_are_named(given: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        settings(**given)


def test_unknown_fields_are_told(caplog: pytest.LogCaptureFixture) -> None:
    settings(Client={"Adress": "x", "TLSConfig": {"Address": None, "Nope": 1}})
    assert ["Adress" in text or "TLSConfig.Nope" in text for text in caplog.messages] == [True] * 2


# --- where the agent is -------------------------------------------------------------------------


def test_the_environment_fills_what_is_not_given() -> None:
    environment = {
        "CONSUL_HTTP_ADDR": "consul.example:8501",
        "CONSUL_HTTP_SSL": "true",
        "CONSUL_HTTP_AUTH": "me:a:b",
        "CONSUL_HTTP_TOKEN": "t",
        "CONSUL_HTTP_TOKEN_FILE": "/t",
        "CONSUL_TLS_SERVER_NAME": "server",
        "CONSUL_CACERT": "ca",
        "CONSUL_CAPATH": "dir",
        "CONSUL_CLIENT_CERT": "cert",
        "CONSUL_CLIENT_KEY": "key",
        "CONSUL_HTTP_SSL_VERIFY": "false",
        "CONSUL_NAMESPACE": "ns",
        "CONSUL_PARTITION": "part",
    }
    found = completed(ClientSettings(), environment)
    assert found == ClientSettings(
        address="consul.example:8501",
        scheme="https",
        username="me",
        password="a:b",
        token="t",
        token_file="/t",
        tls=TlsSettings(
            server_name="server",
            ca_file="ca",
            ca_path="dir",
            cert_file="cert",
            key_file="key",
            skip_verify=True,
        ),
        namespace="ns",
        partition="part",
    )
    given = ClientSettings(address="here", scheme="http", username="you", token="own")
    found = completed(given, environment)
    assert (found.address, found.scheme) == ("here", "http")
    assert (found.username, found.password) == ("you", "")
    assert (found.token, found.token_file) == ("own", "")


def test_an_empty_environment() -> None:
    found = completed(ClientSettings(), {})
    assert endpoint(found).geturl() == "http://127.0.0.1:8500"
    assert found.tls == TlsSettings()


def test_words_that_are_no_booleans_are_told(caplog: pytest.LogCaptureFixture) -> None:
    words = {"CONSUL_HTTP_SSL": "maybe", "CONSUL_HTTP_SSL_VERIFY": "perhaps"}
    found = completed(ClientSettings(), words)
    assert (found.scheme, found.tls.skip_verify) == ("http", False)
    assert len(caplog.messages) == 2


@pytest.mark.parametrize(
    ("address", "scheme", "url"),
    [
        ("a:1", "http", "http://a:1"),
        ("a:1", "https", "https://a:1"),
        ("http://a:1", "https", "https://a:1"),
        ("https://a:1/prefix/", "http", "https://a:1/prefix"),
        ("[::1]:8500", "http", "http://[::1]:8500"),
    ],
)
def test_addresses(address: str, scheme: str, url: str) -> None:
    assert endpoint(ClientSettings(address=address, scheme=scheme)).geturl() == url


def test_sockets_and_unknown_schemes() -> None:
    socket = endpoint(ClientSettings(address="unix:///run/consul.sock"))
    assert (socket.scheme, socket.path) == ("unix", "/run/consul.sock")
    with pytest.raises(ValueError, match="unknown protocol scheme: ftp"):
        endpoint(ClientSettings(address="ftp://a"))


async def test_token_files(tmp_path: Path) -> None:
    path = tmp_path / "token"
    agent = Agent(ClientSettings(address="a", scheme="http", token_file=str(path)))
    with pytest.raises(ValueError, match=f"Error loading token file {path}"):
        await agent.open()
    path.write_text("  abc\n")
    await agent.open()
    assert agent._session is not None
    assert agent._session.headers["X-Consul-Token"] == "abc"
    await agent.close()
    await agent.close()
    with pytest.raises(AgentError, match="is closed"):
        await agent.check()


async def test_wrong_certificates_are_told_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    tls = TlsSettings(ca_file=str(path))
    agent = Agent(ClientSettings(address="a", scheme="https", tls=tls))
    with pytest.raises(ValueError, match=f"invalid 'Client.TLSConfig': .*{path}"):
        await agent.open()


async def test_nobody_there() -> None:
    port = free_port()
    agent = Agent(ClientSettings(address=f"127.0.0.1:{port}", scheme="http"))
    await agent.open()
    with pytest.raises(AgentError, match=f"127.0.0.1:{port} cannot be asked"):
        await agent.check()
    await agent.close()


async def test_a_token_does_not_follow_a_redirect() -> None:
    seen: list[Request] = []

    async def answer(request: Request) -> Response:
        seen.append(request)
        return Response(302, [(b"Location", b"http://localhost:%d/elsewhere" % port)])

    server = HttpServer(answer, max_body_bytes=0, max_header_bytes=8192)
    port = await server.listen_tcp("127.0.0.1", 0)
    agent = Agent(ClientSettings(address=f"127.0.0.1:{port}", scheme="http", token="abc"))
    await agent.open()
    with pytest.raises(AgentError, match="answers 302"):
        await agent.check()
    assert [request.path for request in seen] == [b"/v1/agent/self"]
    await agent.close()
    await server.close(0)


# --- registration -------------------------------------------------------------------------------


def test_own_registration() -> None:
    body = registration(settings(selfRegister=True, tags="a, b", meta={"Team": "x"}), ME)
    assert body == {
        "ID": "shop-10.0.0.9-3500",
        "Name": "shop",
        "Address": "10.0.0.9",
        "Port": 8080,
        "Tags": ["a", "b"],
        "Meta": {"Team": "x", "DAPR_PORT": "50002"},
        "Checks": [
            {
                "Name": "Dapr Health Status",
                "CheckID": "daprHealth:shop-10.0.0.9-3500",
                "Interval": "15s",
                "HTTP": "http://10.0.0.9:3500/v1.0/healthz?appid=shop",
            }
        ],
    }


def test_own_health_by_ipv6() -> None:
    body = registration(settings(selfRegister=True), replace(ME, host_address="fd00::1"))
    assert body is not None
    assert body["Address"] == "fd00::1"
    assert body["Checks"][0]["HTTP"] == "http://[fd00::1]:3500/v1.0/healthz?appid=shop"


def test_given_checks_and_port_key() -> None:
    check = {"name": "c", "args": ["sh", "-c", "true"], "interval": "1s", "header": {"X": ["1"]}}
    body = registration(settings(selfRegister=True, checks=[check], daprPortMetaKey="P"), ME)
    assert body is not None
    assert body["Checks"] == [
        {"Name": "c", "Args": ["sh", "-c", "true"], "Interval": "1s", "Header": {"X": ["1"]}}
    ]
    assert body["Meta"] == {"P": "50002"}


def test_an_app_is_needed_to_register() -> None:
    with pytest.raises(ValueError, match=r"^metadata property missing: APP_PORT$"):
        registration(settings(selfRegister=True), replace(ME, app_port=0))
    assert registration(settings(), replace(ME, app_port=0)) is None


def test_an_advanced_registration_replaces_everything() -> None:
    advanced = {
        "name": "other",
        "tags": ["t"],
        "port": "81",
        "meta": {"Key": 1},
        "weights": {"passing": 2},
        "taggedAddresses": {"lan_IPv4": {"address": "10.1.1.1", "port": 1}},
        "connect": {"sidecarService": {"proxy": {"config": {"aB": 1}}}},
    }
    body = registration(
        settings(advancedRegistration=advanced, tags="x", checks=[{"name": "c"}]),
        replace(ME, app_port=0),
    )
    assert body == {
        "Name": "other",
        "Tags": ["t"],
        "Port": 81,
        "Meta": {"Key": "1", "DAPR_PORT": "50002"},
        "Weights": {"Passing": 2},
        "TaggedAddresses": {"lan_IPv4": {"Address": "10.1.1.1", "Port": 1}},
        "Connect": {"SidecarService": {"Proxy": {"Config": {"aB": 1}}}},
    }
    assert registered_id(body) == "other"
    assert registered_id({"ID": "i", "Name": "n"}) == "i"


def test_a_written_port_is_meant() -> None:
    given = {"Name": "other", "Meta": {"DAPR_PORT": "1234"}}
    body = registration(settings(advancedRegistration=given), ME)
    assert body is not None
    assert body["Meta"] == {"DAPR_PORT": "1234"}


# --- addresses ----------------------------------------------------------------------------------


def entry(address: str = "", node: str = "10.0.0.1", **meta: str) -> dict[str, Any]:
    return {"Node": {"Address": node}, "Service": {"Address": address, "Meta": meta or None}}


async def test_address_rules() -> None:
    entries = [
        entry("10.0.0.2", DAPR_PORT="1"),
        entry("", DAPR_PORT="2"),
        entry("fd00::7", DAPR_PORT="3"),
        entry("localhost", DAPR_PORT="4"),
        entry("10.0.0.3"),
        entry("10.0.0.4", DAPR_PORT="http"),
        entry("no-such-host.invalid", DAPR_PORT="5"),
    ]
    found = instances.endpoints(entries, "shop", "DAPR_PORT")
    assert await instances.addresses(found) == [
        "10.0.0.2:1",
        "10.0.0.1:2",
        "[fd00::7]:3",
        "localhost:4",
    ]


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ([], "no healthy services found with AppID 'shop'"),
        ([entry("10.0.0.3")], "target service AppID 'shop' found but DAPR_PORT missing from meta"),
        ([entry(DAPR_PORT="0")], "target service AppID 'shop' found but DAPR_PORT is no port: '0'"),
    ],
)
def test_entries_that_are_no_use(entries: list[dict[str, Any]], text: str) -> None:
    with pytest.raises(LookupError, match=f"^{text}$"):
        instances.endpoints(entries, "shop", "DAPR_PORT")


async def test_host_names_must_resolve() -> None:
    text = "^invalid ip address or unreachable hostname: no-such-host.invalid$"
    with pytest.raises(LookupError, match=text):
        await instances.addresses([instances.Endpoint("no-such-host.invalid", 1)])


# --- watching -----------------------------------------------------------------------------------


def test_filters_quote_names() -> None:
    assert service_filter(["a", 'b"']) == 'ServiceName=="a" or ServiceName=="b\\""'


def test_signatures_tell_whether_checks_changed() -> None:
    state = {"Node": "n", "ServiceID": "i", "CheckID": "c", "Status": "passing", "ModifyIndex": 1}
    first = signatures([state | {"ServiceName": "a"}, state | {"ServiceName": "b"}])
    second = signatures([state | {"ServiceName": "a"}, state | {"ServiceName": "b", "Status": ""}])
    assert first["a"] == second["a"]
    assert first["b"] != second["b"]


async def test_no_more_services_are_watched_than_a_url_can_name() -> None:
    async def read(service: str) -> list[str]:
        raise AssertionError(f"{service}: without an agent nothing is read")

    agent = Agent(ClientSettings(address="a", scheme="http"))  # not opened: every query fails
    cache = ServiceCache(agent, QueryOptions(), read)
    for number in range(600):
        cache.watch(f"app-{number}")
    assert len(cache._watched) == 500
    task = cache._task
    assert task is not None
    await asyncio.sleep(0)
    assert not task.done()
    await cache.close()
    assert task.cancelled()
    await cache.close()


def test_certificates_are_only_skipped_when_asked(tmp_path: Path) -> None:
    from dapr_sidecar.components.nameresolution.consul.agent import _tls_context

    assert _tls_context(TlsSettings()).verify_mode is ssl.CERT_REQUIRED
    assert _tls_context(TlsSettings(skip_verify=True)).verify_mode is ssl.CERT_NONE
