"""HashiCorp Vault as it is: both kinds of engines, versions, policies, tokens that end, TLS."""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from harness.backends import Backend, Backends
from harness.block_api import make
from harness.secret_preparations import vault_call

from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.secretstores.vault import VaultSecretStore

Open = Callable[..., Awaitable[VaultSecretStore]]


class Vault:
    """The server, and an engine of each kind that no other test has."""

    def __init__(self, server: Backend) -> None:
        self.facts = {"backend": server.address, **server.facts}
        self.port = server.port
        self.url = f"http://{server.address}"

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        return vault_call(self.facts, method, path, body)

    def mount(self, kind: str = "kv", version: str = "2") -> str:
        """A new engine; returns its path."""
        path = f"e-{secrets.token_hex(4)}"
        body = {"type": kind, "options": {"version": version} if kind == "kv" else {}}
        self.call("POST", f"sys/mounts/{path}", body)
        return path

    def token(self, policy: str, **more: object) -> str:
        """A new token that has only this policy, in Vault's own language."""
        name = f"p-{secrets.token_hex(4)}"
        self.call("PUT", f"sys/policies/acl/{name}", {"policy": policy})
        given = {"policies": [name], "no_default_policy": True, "no_parent": True, **more}
        return str(self.call("POST", "auth/token/create", given)["auth"]["client_token"])


@pytest.fixture
def vault(backends: Backends) -> Vault:
    return Vault(backends.shared("vault"))


@pytest.fixture
async def opened(vault: Vault) -> AsyncIterator[Open]:
    made: list[Any] = []

    async def run(**properties: str) -> Any:
        token = {} if "vaultTokenMountPath" in properties else {"vaultToken": vault.facts["token"]}
        store = make(VaultSecretStore, **{"vaultAddr": vault.url, **token, **properties})
        made.append(store)
        await store.open()
        return store

    yield run
    for store in made:
        await store.close()


# --- engines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1", "2"])
async def test_both_kinds_of_engines(vault: Vault, opened: Open, version: str) -> None:
    engine = vault.mount(version=version)
    data = "data/" if version == "2" else ""
    for name, values in {"a": {"x": "1", "ü": "€"}, "team/b": {"n": 5, "o": {"k": [1]}}}.items():
        body = {"data": values} if version == "2" else values
        for folder in ("dapr", "mine"):
            vault.call("POST", f"{engine}/{data}{folder}/{name}", body)
    vault.call("POST", f"{engine}/{data}other", {"data": {"no": "no"}})
    store = await opened(enginePath=engine)
    expected = {"a": {"x": "1", "ü": "€"}, "team/b": {"n": "5", "o": '{"k":[1]}'}}
    assert await store.get("a", {}) == expected["a"]
    assert await store.get("team/b", {}) == expected["team/b"]
    assert await store.bulk_get({}) == expected
    with pytest.raises(LookupError, match="secret other not found"):
        await store.get("other", {})
    mine = await opened(enginePath=f"/{engine}/", vaultKVPrefix="mine/team")
    assert await mine.bulk_get({}) == {"b": expected["team/b"]}
    every = await opened(enginePath=engine, vaultKVUsePrefix="false")
    assert set(await every.bulk_get({})) == {
        *("dapr/a", "dapr/team/b", "mine/a", "mine/team/b"),
        "other",
    }
    text = await opened(enginePath=engine, vaultValueType="text")
    assert await text.get("a", {}) == {"a": '{"x":"1","ü":"€"}'}
    assert (await text.bulk_get({}))["team/b"] == {"team/b": '{"n":5,"o":{"k":[1]}}'}
    await store.ping()


async def test_an_empty_engine(vault: Vault, opened: Open) -> None:
    for version in ("1", "2"):
        store = await opened(enginePath=vault.mount(version=version))
        assert await store.bulk_get({}) == {}


async def test_versions_that_were_deleted_or_destroyed(vault: Vault, opened: Open) -> None:
    engine = vault.mount()
    for number in (1, 2, 3):
        vault.call("POST", f"{engine}/data/dapr/a", {"data": {"v": str(number)}})
    vault.call("POST", f"{engine}/data/dapr/b", {"data": {"v": "b"}})
    vault.call("POST", f"{engine}/destroy/dapr/a", {"versions": [1]})
    vault.call("DELETE", f"{engine}/data/dapr/a")  # the latest one
    store = await opened(enginePath=engine)
    assert await store.get("a", {"version_id": "2"}) == {"v": "2"}
    for version in ("1", "3", "9"):
        with pytest.raises(LookupError, match=f"secret a not found in version {version}"):
            await store.get("a", {"version_id": version})
    with pytest.raises(LookupError, match=r"secret a not found$"):
        await store.get("a", {})
    assert await store.bulk_get({}) == {"b": {"v": "b"}}


async def test_engines_that_are_none(vault: Vault, opened: Open) -> None:
    other = vault.mount("transit")
    with pytest.raises(SettingsError, match=f"'enginePath': '{other}': .*is of type transit"):
        await opened(enginePath=other)
    with pytest.raises(SettingsError, match=r"'enginePath': 'secret/x': .*engine at 'secret'"):
        await opened(enginePath="secret/x")
    with pytest.raises(Exception, match=r"status 403; .*an engine at 'none' \('enginePath'\)"):
        await opened(enginePath="none")


# --- who may what -------------------------------------------------------------------------------


async def test_forbidden_is_not_missing(vault: Vault, opened: Open) -> None:
    engine = vault.mount()
    for name in ("open", "closed"):
        vault.call("POST", f"{engine}/data/dapr/{name}", {"data": {"v": "v4lu3"}})
    policy = f'path "{engine}/data/dapr/open" {{ capabilities = ["read"] }}'
    store = await opened(enginePath=engine, vaultToken=vault.token(policy))
    assert await store.get("open", {}) == {"v": "v4lu3"}
    for ask in (store.get("closed", {}), store.get("none", {}), store.bulk_get({})):
        with pytest.raises(Exception, match=r"status 403; .*permission denied") as caught:
            await ask
        assert not isinstance(caught.value, LookupError)
    listing = f'path "{engine}/*" {{ capabilities = ["list"] }} ' + policy
    store = await opened(enginePath=engine, vaultToken=vault.token(listing))
    with pytest.raises(RuntimeError, match=r"secret closed: .*permission denied"):
        await store.bulk_get({})


async def test_a_wrong_token_is_told_and_not_shown(opened: Open) -> None:
    with pytest.raises(Exception, match=r"permission denied.*'vaultToken' is not valid") as caught:
        await opened(vaultToken="hvs.wrong")
    assert "hvs.wrong" not in str(caught.value)


async def test_a_token_that_ends_and_its_successor(
    vault: Vault, opened: Open, tmp_path: Path
) -> None:
    engine, file = vault.mount(), tmp_path / "token"
    vault.call("POST", f"{engine}/data/dapr/a", {"data": {"v": "1"}})
    policy = f'path "{engine}/*" {{ capabilities = ["read", "list"] }}'
    first = vault.token(policy)
    file.write_text(first + "\n")
    store = await opened(enginePath=engine, vaultTokenMountPath=str(file))
    assert await store.get("a", {}) == {"v": "1"}
    vault.call("POST", "auth/token/revoke", {"token": first})
    with pytest.raises(Exception, match=r"status 403; .*permission denied") as caught:
        await store.get("a", {})
    assert first not in str(caught.value)
    with pytest.raises(Exception, match="'vaultTokenMountPath' is not valid"):
        await store.ping()
    file.write_text(vault.token(policy))
    assert await store.get("a", {}) == {"v": "1"}
    await store.ping()


async def test_a_token_that_runs_out(vault: Vault, opened: Open) -> None:
    engine = vault.mount()
    vault.call("POST", f"{engine}/data/dapr/a", {"data": {"v": "1"}})
    policy = f'path "{engine}/*" {{ capabilities = ["read"] }}'
    store = await opened(enginePath=engine, vaultToken=vault.token(policy, num_uses=3))
    assert await store.get("a", {}) == {"v": "1"}
    with pytest.raises(Exception, match="permission denied"):
        await asyncio.gather(*(store.get("a", {}) for _ in range(4)))


async def test_a_sealed_vault() -> None:
    with Backend("vault") as server:
        vault = Vault(server)
        store = make(VaultSecretStore, vaultAddr=vault.url, vaultToken="root")
        await store.open()
        await asyncio.to_thread(vault.call, "PUT", "sys/seal")
        for ask in (store.get("a", {}), store.bulk_get({}), store.ping()):
            with pytest.raises(Exception, match=f"Vault at {server.address}: .*sealed"):
                await ask
        await store.close()


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def pem(ca: trustme.CA) -> str:
    return ca.cert_pem.bytes().decode()


@asynccontextmanager
async def behind_tls(vault: Vault, certificate: trustme.LeafCert) -> AsyncIterator[str]:
    """The server behind something that speaks TLS; gives its URL."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", vault.port)
        try:
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        except (OSError, ssl.SSLError):
            pass  # the client went
        finally:
            writer.transport.abort()
            far_writer.transport.abort()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with listener:
        yield f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


async def test_whom_to_trust(
    vault: Vault, opened: Open, ca: trustme.CA, pem: str, tmp_path: Path
) -> None:
    vault.call("POST", "secret/data/dapr/tls", {"data": {"v": "1"}})
    folder, file, other = tmp_path / "authorities", tmp_path / "ca.pem", tmp_path / "other.pem"
    folder.mkdir()
    (folder / "1.pem").write_text(trustme.CA().cert_pem.bytes().decode())
    (folder / "2.pem").write_text(pem)
    (folder / "README").write_text("not a certificate")
    file.write_text(pem)
    other.write_text(trustme.CA().cert_pem.bytes().decode())
    async with behind_tls(vault, ca.issue_cert("127.0.0.1")) as url:
        for trust in (
            {"caPem": pem},
            {"caCert": str(file)},
            {"caPath": str(folder)},
            {"skipVerify": "true"},
            {"caPem": pem, "caCert": "/none", "caPath": "/none"},
            {"caPath": str(folder), "caCert": "/none"},
        ):
            store = await opened(vaultAddr=url, **trust)
            assert await store.get("tls", {}) == {"v": "1"}
        for distrust in ({}, {"caCert": str(other)}, {"skipVerify": "no"}):
            with pytest.raises(Exception, match=r"Vault at 127\.0\.0\.1:\d+.*verify failed"):
                await opened(vaultAddr=url, **distrust)


async def test_the_name_of_the_server(vault: Vault, opened: Open, ca: trustme.CA, pem: str) -> None:
    async with behind_tls(vault, ca.issue_cert("vault.example")) as url:
        await opened(vaultAddr=url, caPem=pem, tlsServerName="vault.example")
        for given in ({}, {"tlsServerName": "other.example"}):
            with pytest.raises(
                Exception, match=re.compile("mismatch|not valid for", re.IGNORECASE)
            ):
                await opened(vaultAddr=url, caPem=pem, **given)
        await opened(vaultAddr=url, caPem=pem, tlsServerName="other.example", skipVerify="true")
