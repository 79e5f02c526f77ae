"""What services answer when something is wrong, from a stand-in: what becomes of it, and what of
the secrets in it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.block_api import HttpApi, loaded, make, make_context
from harness.stand_in_service import StandInService, stand_in_service

from dapr_sidecar.api.http.secrets import routes
from dapr_sidecar.blocks.secrets import SecretsBlock
from dapr_sidecar.components.registry import component_class

Open = Callable[..., Awaitable[Any]]
VAULT, KEYVAULT = "secretstores.hashicorp.vault", "secretstores.azure.keyvault"
SECRETS, PARAMETERS = "secretstores.aws.secretmanager", "secretstores.aws.parameterstore"
KEYS = {"region": "eu-west-1", "accessKey": "a", "secretKey": "hidden"}
KV2 = (200, {"data": {"type": "kv", "path": "secret/", "options": {"version": "2"}}})
TOKEN = (200, {"access_token": "bearer", "expires_in": 3600})


@pytest.fixture
async def opened(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    made: list[Any] = []

    async def run(kind: str, service: StandInService, **properties: str) -> Any:
        own = {
            VAULT: {"vaultAddr": service.url, "vaultToken": "hidden"},
            KEYVAULT: {
                "vaultName": "abc",
                "endpoint": service.url,
                "azureTenantId": "tenant",
                "azureClientId": "app",
                "azureClientSecret": "hidden",
            },
        }.get(kind, {"endpoint": service.url, **KEYS})
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", service.url)
        store = make(component_class(kind, "v1"), **{**own, **properties})
        made.append(store)
        await store.open()
        return store

    yield run
    for store in made:
        await store.close()


@pytest.fixture
def service() -> Iterator[StandInService]:
    with stand_in_service((500, {})) as found:
        yield found


# --- when it is loaded --------------------------------------------------------------------------

LOADING: list[tuple[str, list[tuple[int, Any]], str]] = [
    (
        VAULT,
        [(403, {"errors": ["permission denied"]})],
        r"permission denied: the token of 'vaultToken' is not valid, .*\('enginePath'\)",
    ),
    (VAULT, [(503, {"errors": ["Vault is sealed"]})], r"Vault at .*: status 503; Vault is sealed"),
    (
        VAULT,
        [(200, {"data": {"type": "pki", "path": "secret/", "options": None}})],
        r"'enginePath': 'secret': expected the path of a KV engine: .* is of type pki",
    ),
    (
        VAULT,
        [(200, {"data": {"type": "kv", "path": "secret/", "options": {}}})],
        r"'enginePath': 'secret/team': expected the path of a KV engine: the engine at 'secret'",
    ),
    (
        KEYVAULT,
        [(401, {"error": "invalid_client"})],
        r"no token of Microsoft Entra ID: .*invalid_c",
    ),
    (KEYVAULT, [TOKEN, (401, {"error": {"code": "Unauthorized"}})], r"Unauthorized.*azureTenantId"),
    (KEYVAULT, [TOKEN, (502, {})], r"Azure Key Vault at 127\.0\.0\.1:\d+: status 502"),
    *[
        (kind, [(400, {"__type": "UnrecognizedClientException", "message": "bad"})], text)
        for kind, text in [
            (
                SECRETS,
                r"'accessKey', 'secretKey' and 'sessionToken'.* are not taken.*secretsmanager",
            ),
            (
                PARAMETERS,
                r"'accessKey', 'secretKey' and 'sessionToken'.* are not taken.*AWS ssm at",
            ),
        ]
    ],
    (
        PARAMETERS,
        [(400, {"__type": "ValidationException", "message": "no such names"})],
        r"'prefix': '': expected the beginning of parameters' names: .*no such names",
    ),
    (SECRETS, [(400, {"__type": "InternalFailure"})], r"AWS secretsmanager at .*: InternalFailure"),
]


@pytest.mark.parametrize(("kind", "answers", "text"), LOADING)
async def test_loading(
    opened: Open, service: StandInService, kind: str, answers: list[tuple[int, Any]], text: str
) -> None:
    service.answers[:] = answers
    more = {"enginePath": "secret/team"} if "secret/team" in text else {}
    with pytest.raises(Exception, match=text) as caught:
        await opened(kind, service, **more)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        (KEYVAULT, [TOKEN, (403, {"error": {"code": "Forbidden", "message": "no list"}})]),
        (SECRETS, [(400, {"__type": "AccessDeniedException", "message": "no list"})]),
        (PARAMETERS, [(400, {"__type": "AccessDeniedException", "message": "no list"})]),
        (SECRETS, [(400, {"__type": "ResourceNotFoundException"})]),
        (PARAMETERS, [(400, {"__type": "ParameterNotFound"})]),
        (VAULT, [(404, {"errors": []})]),  # a server that cannot tell what kind of engine it is
    ],
)
async def test_what_reading_does_not_take(
    opened: Open, service: StandInService, kind: str, answers: list[tuple[int, Any]]
) -> None:
    """The right to list is not needed to be loaded."""
    service.answers[:] = answers
    store = await opened(kind, service)
    await store.ping()


async def test_a_standby_that_sends_on(opened: Open, service: StandInService) -> None:
    service.answers[:] = [(307, {})]
    service.headers["Location"] = "http://active.example:8200/v1/sys"
    with pytest.raises(Exception, match=r"requests to active\.example:8200: set 'vaultAddr'"):
        await opened(VAULT, service)


# --- when it is asked ---------------------------------------------------------------------------

GONE = r"secret name not found"
ASKING: list[tuple[str, list[tuple[int, Any]], str]] = [
    (VAULT, [KV2, (404, {"errors": []})], GONE + "$"),
    (VAULT, [KV2, (404, {"data": {"data": None, "metadata": {"version": 1}}})], GONE + "$"),
    (VAULT, [KV2, (404, {"errors": ["no handler for route"]})], r"status 404; no handler for"),
    (VAULT, [KV2, (403, {"errors": ["permission denied"]})], r"status 403; permission denied"),
    (KEYVAULT, [TOKEN, (200, {}), (404, {"error": {"code": "SecretNotFound"}})], GONE),
    (
        KEYVAULT,
        [TOKEN, (200, {}), (403, {"error": {"code": "Forbidden", "message": "no get"}})],
        r"Azure Key Vault at .*: Forbidden: no get",
    ),
    (SECRETS, [(200, {}), (400, {"__type": "ResourceNotFoundException"})], GONE),
    (SECRETS, [(200, {}), (400, {"__type": "AccessDeniedException"})], r": AccessDeniedException"),
    (PARAMETERS, [(200, {}), (400, {"__type": "ParameterNotFound"})], GONE),
    (PARAMETERS, [(200, {}), (400, {"__type": "AccessDeniedException"})], r"AccessDeniedException"),
]


@pytest.mark.parametrize(("kind", "answers", "text"), ASKING)
async def test_asking(
    opened: Open, service: StandInService, kind: str, answers: list[tuple[int, Any]], text: str
) -> None:
    service.answers[:] = answers
    store = await opened(kind, service)
    with pytest.raises(Exception, match=text) as caught:
        await store.get("name", {})
    assert isinstance(caught.value, LookupError) is text.startswith(GONE)
    context = make_context()
    context.components.secret_stores["s"] = loaded("s", store)
    answer = await HttpApi(routes(SecretsBlock(context))).call("GET", "/v1.0/secrets/s/name")
    assert answer.error == (
        500,
        "ERR_SECRET_GET",
        f"failed getting secret with key name from secret store s: {caught.value}",
    )
    assert "hidden" not in str(caught.value)


async def test_what_is_asked_of_a_vault(
    opened: Open, service: StandInService, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("first\n")
    service.answers[:] = [KV2, (200, {"data": {"data": {"a": "b"}}})]
    given = {"vaultToken": "", "vaultTokenMountPath": str(tmp_path / "token")}
    store = await opened(VAULT, service, **given)
    (tmp_path / "token").write_text("second")
    await store.get("a/ü", {"version_id": "3"})
    (tmp_path / "token").write_text("")  # being written anew
    await store.get("b", {})
    (tmp_path / "token").unlink()
    await store.get("c", {})
    assert [target for target, _ in service.asked] == [
        "/v1/sys/internal/ui/mounts/secret",
        "/v1/secret/data/dapr/a/%C3%BC?version=3",
        "/v1/secret/data/dapr/b",
        "/v1/secret/data/dapr/c",
    ]
    tokens = [headers["x-vault-token"] for _, headers in service.asked]
    assert tokens == ["first", "second", "second", "second"]


async def test_a_token_goes_to_no_other_vault(opened: Open, service: StandInService) -> None:
    """A link to the next page counts within the vault only."""
    item = {"id": "https://abc.vault.azure.net/secrets/one", "attributes": {"enabled": True}}
    link = "https://evil.example/secrets?api-version=7.4&$skiptoken=x"
    service.answers[:] = [
        TOKEN,
        (200, {"value": []}),
        (200, {"value": [item], "nextLink": link}),
        (200, {"value": [], "nextLink": None}),
        (200, {"value": "v4lu3"}),
    ]
    store = await opened(KEYVAULT, service)
    assert await store.bulk_get({}) == {"one": {"one": "v4lu3"}}
    assert service.asked[-2][0] == "/secrets?api-version=7.4&$skiptoken=x"


@pytest.mark.parametrize("name", ["a/b", "../keys/a", "a?x=1", "a_b", "", "é", "a" * 128])
async def test_names_no_key_vault_has(opened: Open, service: StandInService, name: str) -> None:
    service.answers[:] = [TOKEN, (200, {})]
    store = await opened(KEYVAULT, service)
    before = len(service.asked)
    with pytest.raises(LookupError, match="not found: names are letters, digits and dashes"):
        await store.get(name, {})
    with pytest.raises(LookupError, match="that is no version"):
        await store.get("a", {"version_id": "../x"})
    assert len(service.asked) == before


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"a":"1","n":2,"o":{"x":[true]}}', {"a": "1", "n": "2", "o": '{"x":[true]}'}),
        ("plain", {"name": "plain"}),
        ("{broken", {"name": "{broken"}),
        ("[1]", {"name": "[1]"}),
        ("7", {"name": "7"}),
    ],
)
async def test_several_values_of_secrets_manager(
    opened: Open, service: StandInService, text: str, values: dict[str, str]
) -> None:
    service.answers[:] = [(200, {}), (200, {"SecretString": text})]
    store = await opened(SECRETS, service, multipleKeyValuesPerSecret="true")
    assert await store.get("name", {}) == values
    assert store.capabilities() == ["MULTIPLE_KEY_VALUES_PER_SECRET"]
    one = await opened(SECRETS, service)
    assert await one.get("name", {}) == {"name": text}
    assert one.capabilities() == []


async def test_bytes_of_secrets_manager(opened: Open, service: StandInService) -> None:
    service.answers[:] = [(200, {}), (200, {"SecretBinary": "AP8="})]
    store = await opened(SECRETS, service)
    assert await store.get("name", {}) == {"name": "AP8="}


async def test_bulk_names_the_secret_that_failed(opened: Open, service: StandInService) -> None:
    listing = {"SecretList": [{"Name": "closed"}]}
    refused = (400, {"__type": "AccessDeniedException", "message": "no"})
    service.answers[:] = [(200, {}), (200, listing), refused]
    store = await opened(SECRETS, service)
    with pytest.raises(RuntimeError, match=r"secret closed: AWS .*: AccessDeniedException: no"):
        await store.bulk_get({})


async def test_a_vault_whose_answers_are_no_json(opened: Open, service: StandInService) -> None:
    service.answers[:] = [KV2, (200, ["what"])]
    store = await opened(VAULT, service)
    with pytest.raises(
        Exception, match=r"Vault at .*: status 200; the answer has no data"
    ) as caught:
        await store.get("a", {})
    assert not isinstance(caught.value, LookupError)


async def test_a_text_of_a_vault(opened: Open, service: StandInService) -> None:
    secret = {"data": {"data": {"user": "ü", "port": 5432, "big": 12345678901234567890}}}
    service.answers[:] = [KV2, (200, secret), KV2, (200, secret)]
    several = await opened(VAULT, service)
    assert (await several.get("a", {}))["port"] == "5432"
    one = await opened(VAULT, service, vaultValueType="Text")
    found = await one.get("a", {})
    assert list(found) == ["a"]
    assert json.loads(found["a"]) == secret["data"]["data"]
    assert (several.capabilities(), one.capabilities()) == (["MULTIPLE_KEY_VALUES_PER_SECRET"], [])
