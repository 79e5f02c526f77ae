"""Manifests of secret stores with a wrong or missing field: told which, and what was expected."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from harness.block_api import make

from dapr_sidecar.components.metadata import SettingsError, decode_settings, describe_settings
from dapr_sidecar.components.registry import component_class

VAULT, KEYVAULT = "secretstores.hashicorp.vault", "secretstores.azure.keyvault"
SECRETS, PARAMETERS = "secretstores.aws.secretmanager", "secretstores.aws.parameterstore"
GCP = "secretstores.gcp.secretmanager"
APP = {"azureTenantId": "t", "azureClientId": "c", "azureClientSecret": "hidden"}

WRONG: list[tuple[str, dict[str, str], str]] = [
    (VAULT, {}, r"missing required metadata field 'vaultToken': .*'vaultTokenMountPath'"),
    (VAULT, {"vaultToken": " "}, r"missing required metadata field 'vaultToken'"),
    (VAULT, {"vaultToken": "a\nhidden"}, r"'vaultToken': expected one word"),
    (VAULT, {"vaultToken": "t", "vaultAddr": "vault:8200"}, r"'vaultAddr': .*expected a URL"),
    (VAULT, {"vaultToken": "t", "vaultAddr": "ftp://x"}, r"'vaultAddr': 'ftp://x': expected a URL"),
    (VAULT, {"vaultToken": "t", "vaultValueType": "json"}, r"'vaultValueType'.*one of map, text"),
    (VAULT, {"vaultToken": "t", "enginePath": "/"}, r"'enginePath': '/': expected a path"),
    (VAULT, {"vaultToken": "t", "caPem": "no"}, r"'caPem': expected certificates in PEM form"),
    (VAULT, {"vaultToken": "t", "caCert": "/no/ca.pem"}, r"'caCert': '/no/ca\.pem': No such file"),
    (VAULT, {"vaultToken": "t", "caPath": "/no"}, r"'caPath': '/no': No such file"),
    (KEYVAULT, APP, r"missing required metadata field 'vaultName'"),
    (KEYVAULT, {**APP, "vaultName": "https://v"}, r"'vaultName': 'https://v': .*not its URL"),
    (KEYVAULT, {**APP, "vaultName": "a.evil.com"}, r"'vaultName'.*letters, digits and dashes"),
    (
        KEYVAULT,
        {**APP, "vaultName": "abc", "endpoint": "abc"},
        r"'endpoint': 'abc': expected a URL",
    ),
    (KEYVAULT, {**APP, "vaultName": "abc", "azureEnvironment": "Mars"}, r"'azureEnvironment'"),
    (KEYVAULT, {"vaultName": "abc", "azureClientSecret": "hidden"}, r"field 'azureTenantId'"),
    *[
        (kind, properties, text)
        for kind in (SECRETS, PARAMETERS)
        for properties, text in [
            ({}, r"missing required metadata field 'region': expected one such as eu-west-1"),
            ({"region": "r", "accessKey": "a"}, r"missing required metadata field 'secretKey'"),
            ({"region": "r", "secretKey": "hidden"}, r"missing required .* 'accessKey'"),
            ({"region": "r", "endpoint": "host"}, r"'endpoint': 'host': expected a URL"),
            ({"region": "r", "trustAnchorArn": "x"}, r"'trustAnchorArn': IAM Roles Anywhere"),
        ]
    ],
    (GCP, {}, r"missing required metadata field 'projectID'"),
    (GCP, {"projectID": "p", "privateKey": "hidden"}, r"missing required .* 'clientEmail'"),
    (GCP, {"projectID": "p", "privateKey": "hidden", "clientEmail": "e"}, r"expected an RSA key"),
    (GCP, {"projectID": "p", "endpoint": "ftp://x"}, r"'endpoint': 'ftp://x': expected host:port"),
    (GCP, {"projectID": "p", "endpoint": "x:port"}, r"'endpoint': 'x:port': expected host:port"),
]


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("kind", "properties", "text"), WRONG)
def test_a_wrong_manifest(kind: str, properties: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=text) as caught:
        make(component_class(kind, "v1"), **properties)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("kind", [VAULT, KEYVAULT, SECRETS, PARAMETERS, GCP])
def test_what_is_secret_is_not_shown(kind: str) -> None:
    settings = component_class(kind, "v1").settings
    secret = [one.names[0] for one in describe_settings(settings) if one.secret]
    assert secret
    given = {"vaultName": "abc", "projectID": "p"} | dict.fromkeys(secret, "hidden")
    assert "hidden" not in repr(decode_settings(settings, given))


# The names of each store in the reference (components.json of 1.18), as they are written there.
AWS_NAMES = "region awsRegion accessKey secretKey sessionToken assumeRoleArn sessionName"
AWS_NAMES += " trustAnchorArn trustProfileArn"
AZURE_NAMES = "azureTenantId azureClientId azureClientSecret azureCertificate azureEnvironment"
AZURE_NAMES += " azureCertificateFile azureCertificatePassword"
NAMES = {
    VAULT: "vaultAddr caPem caPath caCert skipVerify tlsServerName vaultTokenMountPath vaultToken "
    "vaultKVPrefix vaultKVUsePrefix enginePath vaultValueType",
    KEYVAULT: "vaultName " + AZURE_NAMES,
    SECRETS: "endpoint multipleKeyValuesPerSecret " + AWS_NAMES,
    PARAMETERS: "prefix " + AWS_NAMES,
    GCP: "privateKeyID privateKey type projectID clientEmail clientID authURI tokenURI "
    "authProviderX509CertURL clientX509CertURL",
}


@pytest.mark.parametrize("kind", NAMES)
def test_every_name_of_the_reference_is_taken(kind: str) -> None:
    settings = describe_settings(component_class(kind, "v1").settings)
    taken = {name for one in settings for name in one.names}
    assert set(NAMES[kind].split()) - taken == set()


def test_vault_has_the_defaults_of_the_reference() -> None:
    settings = decode_settings(component_class(VAULT, "v1").settings, {"vaultToken": "t"})
    assert settings.address == "https://127.0.0.1:8200"
    assert (settings.mount(), settings.folder(), settings.skip_verify) == ("secret", "dapr", False)
    assert settings.value_type.value == "map"


@pytest.mark.parametrize(
    ("properties", "folder"),
    [
        ({}, "dapr"),
        ({"vaultKVPrefix": ""}, "dapr"),
        ({"vaultKVPrefix": "/team/app/"}, "team/app"),
        ({"vaultKVUsePrefix": "false"}, ""),
        ({"vaultKVUsePrefix": "false", "vaultKVPrefix": "team"}, ""),
    ],
)
def test_the_folder_of_a_vault(properties: dict[str, str], folder: str) -> None:
    settings = decode_settings(component_class(VAULT, "v1").settings, properties)
    assert settings.folder() == folder


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "No such file"),
        (b"", "expected one word, the token"),
        (b"a b", "expected one word, the token"),
        (b"\xff", "expected a text"),
    ],
)
async def test_a_token_file_that_is_none(tmp_path: Path, content: bytes | None, text: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    store: Any = make(component_class(VAULT, "v1"), vaultTokenMountPath=str(file))
    field = re.escape(f"'vaultTokenMountPath': '{file}': ")
    with pytest.raises(SettingsError, match=field + text):
        await store.open()
    await store.close()


async def test_a_folder_without_certificates(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("none")
    with pytest.raises(SettingsError, match=r"'caPath'.*expected a folder with certificates"):
        make(component_class(VAULT, "v1"), vaultToken="t", caPath=str(tmp_path))


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        ("", ("secretmanager.googleapis.com:443", True)),
        ("secretmanager.googleapis.com:443", ("secretmanager.googleapis.com:443", True)),
        ("localhost:8086", ("localhost:8086", False)),
        ("http://[::1]:8086", ("[::1]:8086", False)),
        ("https://private.example", ("private.example:443", True)),
    ],
)
def test_where_secret_manager_is(endpoint: str, target: tuple[str, bool]) -> None:
    properties = {"projectID": "p", "endpoint": endpoint}
    settings = decode_settings(component_class(GCP, "v1").settings, properties)
    assert settings.target() == target


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        ("AzurePublicCloud", "abc.vault.azure.net"),
        ("AZURECHINACLOUD", "abc.vault.azure.cn"),
        ("AzureUSGovernmentCloud", "abc.vault.usgovcloudapi.net"),
    ],
)
def test_where_a_key_vault_is(environment: str, host: str) -> None:
    properties = {"vaultName": "abc", "azureEnvironment": environment}
    settings = decode_settings(component_class(KEYVAULT, "v1").settings, properties)
    assert settings.url() == f"https://{host}"
