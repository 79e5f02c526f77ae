from __future__ import annotations

import base64

import orjson
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from harness.block_api import SERVICE, HttpApi, grpc_api, loaded, make, make_context
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.kube import resources
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import state_pb2
from dapr_sidecar.api.grpc.state import methods
from dapr_sidecar.api.http.state import routes
from dapr_sidecar.blocks.state.block import StateBlock
from dapr_sidecar.blocks.state.encryption import DecryptionError, Encryption
from dapr_sidecar.blocks.state.rules import StoreRules
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.state.base import GetRequest, Json
from dapr_sidecar.components.state.memory import InMemoryStateStore

KEY1, KEY2 = "00" * 16, "ab" * 32


def encryption(primary: tuple[str, str], secondary: tuple[str, str] | None = None) -> Encryption:
    """Keys as (name of the secret, hexadecimal value)."""
    entries, properties = [], {}
    for field, key in (("primaryEncryptionKey", primary), ("secondaryEncryptionKey", secondary)):
        if key is not None:
            entries.append(_entry(field, key[0]))
            properties[field.lower()] = key[1]
    manifest = resources.Component("st", "state.x", metadata=tuple(entries), secret_store="s")
    found = Encryption.of(manifest, properties)
    assert found is not None
    return found


def _entry(field: str, secret: str) -> resources.NameValue:
    return resources.NameValue(field, None, secret_key_ref=resources.SecretKeyRef(secret, ""))


@given(st.binary(), st.sampled_from([16, 24, 32]))
def test_bytes_come_back(plain: bytes, length: int) -> None:
    sealed = encryption(("k", "0f" * length)).encrypt(plain)
    assert plain not in sealed or len(plain) < 8
    assert encryption(("k", "0f" * length)).decrypt(sealed) == plain


@given(st.text())
def test_texts_are_encrypted_without_quotes(text: str) -> None:
    both = encryption(("k", KEY1))
    assert both.decrypt(both.encrypt(Json(text))) == text.encode()


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(), st.lists))
def test_other_json_comes_back_as_json(value: object) -> None:
    both = encryption(("k", KEY1))
    plain = both.decrypt(both.encrypt(Json(value)))
    assert (plain.decode() if isinstance(value, str) else orjson.loads(plain)) == value


def test_the_layout_is_that_of_go_sidecars() -> None:
    sealed = encryption(("key1", KEY2)).encrypt(b"secret")
    encoded, _, name = sealed.rpartition(b"||")
    raw = base64.b64decode(encoded, validate=True)
    assert (name, len(raw)) == (b"key1", 12 + len(b"secret") + 16)
    assert AESGCM(bytes.fromhex(KEY2)).decrypt(raw[:12], raw[12:], None) == b"secret"
    assert encryption(("key1", KEY2)).encrypt(b"secret") != sealed  # a nonce is used once


def test_keys_are_rotated_by_way_of_the_secondary_one() -> None:
    old = encryption(("k1", KEY1))
    stored = old.encrypt(b"v")
    rotating = encryption(("k2", KEY2), ("k1", KEY1))
    assert rotating.decrypt(stored) == b"v"
    renewed = rotating.encrypt(rotating.decrypt(stored))
    assert renewed.endswith(b"||k2")
    new = encryption(("k2", KEY2))
    assert new.decrypt(renewed) == b"v"
    with pytest.raises(DecryptionError, match="unknown key 'k1'"):
        new.decrypt(stored)


def test_what_cannot_be_decrypted() -> None:
    keys = encryption(("k", KEY1))
    assert keys.decrypt(b"") == b""
    with pytest.raises(DecryptionError, match="names no key"):
        keys.decrypt(b"plain")
    stored = keys.encrypt(b"v")
    for broken in (b"AAAA" + stored[4:], b"%%||k", b"||k", stored[8:]):
        with pytest.raises(DecryptionError, match="it was changed"):
            keys.decrypt(broken)


def test_a_name_that_could_not_be_read_back_is_refused() -> None:
    with pytest.raises(SettingsError, match="could not be decrypted"):
        encryption(("a||b", KEY1))


@pytest.mark.parametrize("text", ["", "zz", "00", "00" * 20])
def test_keys_that_are_none_are_refused_without_being_shown(text: str) -> None:
    with pytest.raises(SettingsError, match="primaryEncryptionKey") as caught:
        encryption(("k", text))
    assert "zz" not in str(caught.value)


def test_when_encryption_is_off() -> None:
    plain = resources.NameValue("primaryEncryptionKey", KEY1)
    written = resources.Component("st", "state.x", metadata=(plain,))
    assert Encryption.of(written, {"primaryencryptionkey": KEY1}) is None
    no_store = resources.Component("st", "state.x", metadata=(_entry("primaryEncryptionKey", "k"),))
    assert Encryption.of(no_store, {}) is None
    missing = resources.Component(
        "st", "state.x", metadata=(_entry("primaryEncryptionKey", "k"),), secret_store="s"
    )
    with pytest.raises(SettingsError, match="'k' was not found in 's'"):
        Encryption.of(missing, {})
    assert KEY1 not in repr(encryption(("k", KEY1)))


@pytest.mark.parametrize(
    "text", [b"1234567890123456789012345", b'{"b":[18446744073709551616],"a":"<"}', b"1e+21", b"1"]
)
async def test_numbers_keep_every_digit(text: bytes) -> None:
    block = StateBlock(make_context())
    rules = StoreRules("app1||", encryption(("k", KEY1)), None)
    block.context.components.state["st"] = loaded("st", make(InMemoryStateStore), rules)
    api = HttpApi(routes(block))
    saved = await api.call("POST", "/v1.0/state/st", b'[{"key":"a","value":%b}]' % text)
    assert saved.status == 204
    assert (await api.call("GET", "/v1.0/state/st/a")).body == text


async def test_the_block_encrypts_on_both_transports_and_tells_failures() -> None:
    store = make(InMemoryStateStore)
    block = StateBlock(make_context())
    rules = StoreRules("app1||", encryption(("k", KEY1)), None)
    block.context.components.state["st"] = loaded("st", store, rules)
    api = HttpApi(routes(block))
    await api.call("POST", "/v1.0/state/st", [{"key": "a", "value": "text"}])
    operation = {"operation": "upsert", "request": {"key": "b", "value": {"n": 1}}}
    await api.call("POST", "/v1.0/state/st/transaction", {"operations": [operation]})
    for key in ("a", "b"):
        assert b"||k" in (await store.get(GetRequest(f"app1||{key}"))).data
    assert (await api.call("GET", "/v1.0/state/st/a")).body == b"text"
    assert (await api.call("GET", "/v1.0/state/st/b")).json == {"n": 1}
    async with grpc_api(methods(block)) as channel:
        request = state_pb2.SaveStateRequest(
            store_name="st", states=[common_pb2.StateItem(key="c", value=b"\x00\xff")]
        )
        await channel.unary(SERVICE + "SaveState", request, timeout=20)
        answer = await channel.unary(
            SERVICE + "GetState",
            state_pb2.GetStateRequest(store_name="st", key="c"),
            state_pb2.GetStateResponse,
            timeout=20,
        )
        assert answer.message.data == b"\x00\xff"
    block.context.components.state["st"] = loaded(
        "st", store, StoreRules("app1||", encryption(("other", KEY2)), None)
    )
    status, code, text = (await api.call("GET", "/v1.0/state/st/a")).error
    assert (status, code) == (500, "ERR_STATE_GET")
    assert "unknown key 'k'" in text
    answer_of_many = await api.call("POST", "/v1.0/state/st/bulk", {"keys": ["a"]})
    assert "unknown key 'k'" in answer_of_many.json[0]["error"]
    query = await api.call("POST", "/v1.0-alpha1/state/st/query", {})
    assert query.error[1] == "ERR_STATE_STORE_NOT_SUPPORTED"
