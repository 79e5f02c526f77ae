"""``crypto.azure.keyvault`` on a stand-in for the vault's keys and one for Entra ID."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from harness.block_api import make
from harness.stand_in_entra import StandInEntra, stand_in_entra
from harness.stand_in_key_vault_keys import (
    TOKEN,
    StandInKeyVault,
    known_rsa_key,
    new_rsa_key,
    stand_in_key_vault,
)

from dapr_sidecar.components.azure.keyvault import KeyVaultClient
from dapr_sidecar.components.crypto.azure_keyvault import KeyVaultCrypto
from dapr_sidecar.components.crypto.keys import KeyUseError
from dapr_sidecar.components.metadata import SettingsError, decode_settings
from dapr_sidecar.components.web import WebError

RSA = "RSA-OAEP-256"
LOGIN = {"azureTenantId": "tenant", "azureClientId": "me", "azureClientSecret": "s3cret"}


@pytest.fixture
def entra(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInEntra]:
    with stand_in_entra(TOKEN) as found:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", found.url)
        yield found


@pytest.fixture
def vault(entra: StandInEntra) -> Iterator[StandInKeyVault]:
    with stand_in_key_vault() as found:
        yield found


@pytest.fixture
async def provider(vault: StandInKeyVault) -> AsyncIterator[KeyVaultCrypto]:
    found = make(KeyVaultCrypto, vaultName="myvault", endpoint=vault.url, **LOGIN)
    await found.open()
    yield found
    await found.close()


async def test_what_is_asked_and_who_asks(
    provider: KeyVaultCrypto, vault: StandInKeyVault, entra: StandInEntra
) -> None:
    version = vault.keys["rsa"][0].id
    for _ in range(3):
        wrapped = await provider.wrap_key(bytes(32), RSA, "rsa")
    await provider.unwrap_key(wrapped, RSA, f"rsa/{version}")
    assert vault.asked[0] == "POST /keys/rsa//wrapkey"
    assert vault.asked[-1] == f"POST /keys/rsa/{version}/unwrapkey"
    (asked,) = entra.asked  # one token for all
    assert "scope=https%3A%2F%2Fvault.azure.net%2F.default" in asked


async def test_what_others_wrapped_with_the_public_key(provider: KeyVaultCrypto) -> None:
    """A Go sidecar wraps with the public half on its own: the result is RSA-OAEP and no more."""
    key, oaep = os.urandom(32), padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
    theirs = known_rsa_key().public_key().encrypt(key, oaep)
    assert await provider.unwrap_key(theirs, RSA, "rsa") == key
    ours = await provider.wrap_key(key, RSA, "rsa")
    assert known_rsa_key().decrypt(ours, oaep) == key


async def test_versions(provider: KeyVaultCrypto, vault: StandInKeyVault) -> None:
    key, first = os.urandom(32), vault.keys["rsa"][0].id
    old = await provider.wrap_key(key, RSA, "rsa")
    second = vault.create("rsa", new_rsa_key())
    new = await provider.wrap_key(key, RSA, "rsa")
    assert await provider.unwrap_key(new, RSA, f"rsa/{second}") == key
    assert await provider.unwrap_key(old, RSA, f"rsa/{first}") == key
    with pytest.raises(KeyUseError, match=f"rsa/{second}"):
        await provider.unwrap_key(old, RSA, f"rsa/{second}")


async def test_a_renewed_key_still_opens_what_its_older_version_wrapped(
    provider: KeyVaultCrypto, vault: StandInKeyVault
) -> None:
    key = os.urandom(32)
    old = await provider.wrap_key(key, RSA, "rsa")
    vault.create("rsa", new_rsa_key())
    assert await provider.unwrap_key(old, RSA, "rsa") == key
    vault.lists = False  # without the right to list there is the newest one only
    with pytest.raises(KeyUseError, match="BadParameter"):
        await provider.unwrap_key(old, RSA, "rsa")
    vault.lists = True
    vault.keys["rsa"][0].enabled = False
    with pytest.raises(KeyUseError, match="BadParameter"):
        await provider.unwrap_key(old, RSA, "rsa")


async def test_a_busy_vault_is_asked_again(
    provider: KeyVaultCrypto, vault: StandInKeyVault
) -> None:
    vault.busy = 3
    assert await provider.wrap_key(bytes(32), RSA, "rsa")
    vault.busy = 100
    with pytest.raises(KeyUseError, match="Throttled"):
        await provider.wrap_key(bytes(32), RSA, "rsa")
    assert len(vault.asked) == 4 + 5


async def test_whether_it_can_serve(provider: KeyVaultCrypto, vault: StandInKeyVault) -> None:
    await provider.ping()
    vault.lists = False
    await provider.ping()
    away = "http://127.0.0.1:1"
    elsewhere = make(KeyVaultCrypto, vaultName="myvault", endpoint=away, **LOGIN)
    with pytest.raises(WebError, match="cannot be reached"):
        await elsewhere.ping()
    with pytest.raises(KeyUseError, match=r"key 'rsa': .* cannot be reached"):
        await elsewhere.wrap_key(bytes(32), RSA, "rsa")
    await elsewhere.close()


@pytest.mark.parametrize(
    ("name", "algorithm", "text"),
    [
        ("none", RSA, "key 'none': .* KeyNotFound"),
        ("rsa/0123", RSA, "key 'rsa/0123': .* KeyNotFound"),
        ("../secrets/x", RSA, "expected name or name/version"),
        ("rsa/a/b", RSA, "expected name or name/version"),
        ("", RSA, "expected name or name/version"),
        ("rsa?x", RSA, "expected name or name/version"),
        ("rsa", "A256KW", "incompatible"),
        ("aes128", "A256KW", "incompatible"),
        ("curve", RSA, "incompatible"),
        ("rsa", "RSA1_5", "'RSA1_5' is not supported"),
    ],
)
async def test_keys_that_cannot(
    provider: KeyVaultCrypto, name: str, algorithm: str, text: str
) -> None:
    with pytest.raises(KeyUseError, match=text):
        await provider.wrap_key(bytes(32), algorithm, name)


async def test_a_disabled_key_and_a_vault_that_does_not_know_us(vault: StandInKeyVault) -> None:
    vault.keys["rsa"][0].enabled = False
    provider = make(KeyVaultCrypto, vaultName="myvault", endpoint=vault.url, **LOGIN)
    with pytest.raises(KeyUseError, match="disabled"):
        await provider.wrap_key(bytes(32), RSA, "rsa")
    stranger = make(
        KeyVaultCrypto, vaultName="myvault", endpoint=vault.url, **{**LOGIN, "azureTenantId": "x"}
    )
    with pytest.raises(KeyUseError, match="no token of Microsoft Entra ID") as caught:
        await stranger.wrap_key(bytes(32), RSA, "rsa")
    assert "s3cret" not in str(caught.value)
    await provider.close()
    await stranger.close()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"vaultName": ""}, "missing required metadata field 'vaultName'"),
        ({"vaultName": "https://myvault.vault.azure.net"}, "'vaultName': .* not its URL"),
        ({"endpoint": "myvault"}, "'endpoint': .* expected a URL"),
        ({"requestTimeout": "0"}, "'requestTimeout': .* expected a duration above 0"),
        ({"requestTimeout": "soon"}, "'requestTimeout'"),
        ({"azureTenantId": ""}, "missing required metadata field 'azureTenantId'"),
        ({"azureClientId": ""}, "missing required metadata field 'azureClientId'"),
        ({"azureEnvironment": "Mars"}, "'azureEnvironment': .* expected one of"),
    ],
)
def test_manifests_that_are_wrong(changes: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=text) as caught:
        make(KeyVaultCrypto, **{"vaultName": "myvault", **LOGIN, **changes})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        ("AzurePublicCloud", "myvault.vault.azure.net"),
        ("AzureChinaCloud", "myvault.vault.azure.cn"),
        ("AzureUSGovernmentCloud", "myvault.vault.usgovcloudapi.net"),
    ],
)
async def test_where_a_vault_is(environment: str, host: str) -> None:
    properties = {"vaultName": "myvault", "azureEnvironment": environment, **LOGIN}
    settings: Any = decode_settings(KeyVaultCrypto.settings, properties)
    assert settings.url() == f"https://{host}"
    client = KeyVaultClient(settings, 1)
    assert re.fullmatch(r"https://vault\.[a-z.]+", client._tokens._resource)
    assert host.endswith(client._tokens._resource.removeprefix("https://"))
    await client.close()
