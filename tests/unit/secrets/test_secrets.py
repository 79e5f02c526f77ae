from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
from harness.block_api import SERVICE, HttpApi, grpc_api, loaded, make, make_context
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.runtime.v1 import secret_pb2
from dapr_sidecar.api.grpc.secrets import methods
from dapr_sidecar.api.http.secrets import routes
from dapr_sidecar.blocks.secrets import SecretResolver, SecretsBlock, SecretScope
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.secretstores.base import SecretStore
from dapr_sidecar.components.secretstores.local_env import LocalEnvSecretStore, LocalEnvSettings
from dapr_sidecar.components.secretstores.local_file import LocalFileSecretStore


class FakeStore(SecretStore):
    def __init__(self, secrets: Mapping[str, dict[str, str]] | None) -> None:
        super().__init__(None, ComponentContext("s", "app1"))
        self.secrets = secrets
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str] | None:
        self.asked.append((name, metadata))
        if self.secrets is None:
            return None
        if name not in self.secrets:
            raise LookupError(f"secret {name} not found")
        return self.secrets[name]

    async def bulk_get(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]] | None:
        if self.secrets == {}:
            raise OSError("down")
        return None if self.secrets is None else dict(self.secrets)


SECRETS = {"b": {"b": "<2>"}, "a": {"y": "2", "x": "1"}}


def block(
    secrets: Mapping[str, dict[str, str]] | None = SECRETS, *scopes: dict[str, object]
) -> SecretsBlock:
    context = make_context({"secrets": {"scopes": list(scopes)}})
    context.components.secret_stores["s"] = loaded("s", FakeStore(secrets))
    return SecretsBlock(context)


async def test_get_and_bulk_over_http() -> None:
    api = HttpApi(routes(block()))
    answer = await api.call("GET", "/v1.0/secrets/s/a?metadata.namespace=n1")
    assert (answer.status, answer.body) == (200, b'{"x":"1","y":"2"}\n')
    bulk = await api.call("GET", "/v1.0/secrets/s/bulk")
    assert bulk.body == b'{"a":{"x":"1","y":"2"},"b":{"b":"\\u003c2\\u003e"}}\n'


async def test_request_metadata_reaches_the_store() -> None:
    tested = block()
    await HttpApi(routes(tested)).call("GET", "/v1.0/secrets/s/a%2Fb?metadata.namespace=n1")
    store = tested.context.components.secret_stores["s"].component
    assert isinstance(store, FakeStore)
    assert store.asked == [("a/b", {"namespace": "n1"})]


async def test_no_data_is_204() -> None:
    api = HttpApi(routes(block(None)))
    assert (await api.call("GET", "/v1.0/secrets/s/a")).status == 204
    assert (await api.call("GET", "/v1.0/secrets/s/bulk")).status == 204


async def test_errors_over_http() -> None:
    api = HttpApi(routes(block()))
    assert (await api.call("GET", "/v1.0/secrets/s/zz")).error == (
        500,
        "ERR_SECRET_GET",
        "failed getting secret with key zz from secret store s: secret zz not found",
    )
    missing = await api.call("GET", "/v1.0/secrets/no/bulk")
    text = "failed finding secret store with key no"
    assert missing.error == (401, "ERR_SECRET_STORE_NOT_FOUND", text)
    down = await HttpApi(routes(block({}))).call("GET", "/v1.0/secrets/s/bulk")
    text = "failed getting secrets from secret store s: down"
    assert down.error == (500, "ERR_SECRET_GET", text)
    none = HttpApi(routes(SecretsBlock(make_context())))
    text = "secret store is not configured"
    assert (await none.call("GET", "/v1.0/secrets/s/a")).error == (
        500,
        "ERR_SECRET_STORES_NOT_CONFIGURED",
        text,
    )


async def test_policy_refuses_and_filters() -> None:
    scope = {"storeName": "s", "defaultAccess": "Deny", "allowedSecrets": ["a"]}
    api = HttpApi(routes(block(SECRETS, scope)))
    assert (await api.call("GET", "/v1.0/secrets/s/a")).status == 200
    assert (await api.call("GET", "/v1.0/secrets/s/b")).error == (
        403,
        "ERR_PERMISSION_DENIED",
        'access denied by policy to get "b" from "s"',
    )
    assert set((await api.call("GET", "/v1.0/secrets/s/bulk")).json) == {"a"}


async def test_a_new_configuration_counts_at_once() -> None:
    tested = block()
    api = HttpApi(routes(tested))
    assert (await api.call("GET", "/v1.0/secrets/s/a")).status == 200
    scope = {"storeName": "s", "deniedSecrets": ["a"]}
    tested.context.configuration = {"secrets": {"scopes": [scope]}}
    assert (await api.call("GET", "/v1.0/secrets/s/a")).status == 403


async def test_grpc() -> None:
    async with grpc_api(methods(block())) as channel:
        got = await channel.unary(
            SERVICE + "GetSecret",
            secret_pb2.GetSecretRequest(store_name="s", key="a"),
            secret_pb2.GetSecretResponse,
        )
        assert dict(got.message.data) == {"x": "1", "y": "2"}
        bulk = await channel.unary(
            SERVICE + "GetBulkSecret",
            secret_pb2.GetBulkSecretRequest(store_name="s"),
            secret_pb2.GetBulkSecretResponse,
        )
        assert dict(bulk.message.data["b"].secrets) == {"b": "<2>"}
        with pytest.raises(RpcError) as caught:
            await channel.unary(
                SERVICE + "GetSecret",
                secret_pb2.GetSecretRequest(store_name="no", key="a"),
                secret_pb2.GetSecretResponse,
            )
        assert caught.value.code is GrpcCode.INVALID_ARGUMENT
        assert caught.value.message == "failed finding secret store with key no"
        assert caught.value.details_bin == b""


names = st.sets(st.sampled_from("abcd"))


@given(allowed=names, denied=names, deny=st.booleans(), key=st.sampled_from("abcd"))
def test_policy_is_the_table(allowed: set[str], denied: set[str], deny: bool, key: str) -> None:
    access = "DENY" if deny else "allow"
    scope = SecretScope.of(
        {
            "defaultAccess": access,
            "allowedSecrets": list(allowed),
            "deniedSecrets": list(denied),
        }
    )
    if allowed:
        expected = key in allowed
    elif key in denied:
        expected = False
    else:
        expected = not deny
    assert scope.allows(key) is expected


async def test_resolver(caplog: pytest.LogCaptureFixture) -> None:
    denied = {"storeName": "s", "defaultAccess": "deny"}
    tested = block({**SECRETS, "empty": {"empty": ""}}, denied)
    resolver = SecretResolver(tested.context)
    assert await resolver.lookup("s", "a", "x", "n1") == "1"
    assert await resolver.lookup("s", "b", "", "") == "<2>"
    assert await resolver.lookup("s", "a", "zz", "") is None
    assert await resolver.lookup("s", "empty", "", "") is None
    store = tested.context.components.secret_stores["s"].component
    assert isinstance(store, FakeStore)
    assert store.asked[0] == ("a", {"namespace": "n1"})
    with caplog.at_level(logging.WARNING):
        assert await resolver.lookup("s", "gone", "", "") is None
        assert await resolver.lookup("other", "a", "", "") is None
    assert "secret gone not found" in caplog.text
    assert "'other' is not loaded" in caplog.text


# --- secretstores.local.env ---------------------------------------------------------------------


def environment(prefix: str = "", **variables: str) -> LocalEnvSecretStore:
    settings = LocalEnvSettings(prefix=prefix)
    return LocalEnvSecretStore(settings, ComponentContext("env", "app1"), variables)


async def test_env_reads_variables_and_hides_its_own() -> None:
    store = environment(A="1", DAPR_API_TOKEN="t", dapr_x="t", APP_API_TOKEN="t", App_Api_Token="t")
    assert await store.get("A", {}) == {"A": "1"}
    for name in ("UNSET", "DAPR_API_TOKEN", "dapr_x", "APP_API_TOKEN", "App_Api_Token", ""):
        assert await store.get(name, {}) == {name: ""}
    assert await store.bulk_get({}) == {"A": {"A": "1"}}


async def test_env_prefix() -> None:
    store = environment("MY_", MY_A="1", A="2", MY_DAPR_X="3")
    assert await store.get("A", {}) == {"A": "1"}
    assert await store.bulk_get({}) == {"A": {"A": "1"}, "DAPR_X": {"DAPR_X": "3"}}
    assert await environment("DA", DAPR_X="3").get("PR_X", {}) == {"PR_X": ""}


async def test_env_bytes_that_are_no_text_do_not_break_the_answer() -> None:
    found = await environment(A="x\udcff", B="é").bulk_get({})
    assert found == {"A": {"A": "x?"}, "B": {"B": "é"}}


# --- secretstores.local.file --------------------------------------------------------------------


async def file_store(path: Path, text: str, **properties: str) -> LocalFileSecretStore:
    file = path / "secrets.json"
    file.write_text(text)
    store = make(LocalFileSecretStore, secretsFile=str(file), **properties)
    assert isinstance(store, LocalFileSecretStore)
    await store.open()
    return store


NESTED = '{"plain":"v","nested":{"a":{"b":"c"},"n":5,"l":[1,"x"],"t":true,"z":null,"f":1.50}}'


async def test_file_is_flattened(tmp_path: Path) -> None:
    store = await file_store(tmp_path, NESTED)
    expected = {
        "plain": "v",
        "nested:a:b": "c",
        "nested:n": "5",
        "nested:l:0": "1",
        "nested:l:1": "x",
        "nested:t": "true",
        "nested:z": "null",
        "nested:f": "1.50",
    }
    assert await store.bulk_get({}) == {name: {name: value} for name, value in expected.items()}
    with pytest.raises(LookupError, match="secret nested not found"):
        await store.get("nested", {})
    assert store.capabilities() == []


async def test_file_with_several_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = f'{{"single":"s","number":1,"list":["x"],"grp":{NESTED}}}'
    store = await file_store(tmp_path, text, multiValued="true", nestedSeparator=".")
    assert await store.get("single", {}) == {"single": "s"}
    assert (await store.get("grp", {}))["nested.l.1"] == "x"
    assert set(await store.bulk_get({})) == {"single", "grp"}
    assert store.capabilities() == ["MULTIPLE_KEY_VALUES_PER_SECRET"]
    assert "'number' is neither" in caplog.text


@pytest.mark.parametrize("text", ["", "[1]", '{"a":"hidden"', '{"a":NaN}'])
async def test_a_broken_file_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="secretsFile") as caught:
        await file_store(tmp_path, text)
    assert "secrets.json" in str(caught.value)
    assert "hidden" not in str(caught.value)


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    store = make(LocalFileSecretStore, secretsFile=str(tmp_path / "none.json"))
    with pytest.raises(SettingsError, match=r"none\.json': No such file"):
        await store.open()


@settings(suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(
    st.recursive(
        st.text("ab:", max_size=3),
        lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3),
        max_leaves=8,
    ).filter(lambda value: isinstance(value, dict))
)
async def test_every_leaf_can_be_found(content: dict[str, object]) -> None:
    from dapr_sidecar.components.secretstores.local_file import _flatten

    flat = dict(_flatten(json.loads(json.dumps(content)), "", ":"))

    def leaves(value: object, path: tuple[str, ...]) -> list[tuple[str, object]]:
        if isinstance(value, dict):
            return [leaf for k, v in value.items() for leaf in leaves(v, (*path, k))]
        return [(":".join(path), value)]

    assert flat == dict(leaves(content, ()))
