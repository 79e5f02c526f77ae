"""A denied secret stays denied by every name its store knows it by."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from harness.block_api import HttpApi, loaded, make, make_context

from dapr_sidecar.api.http.secrets import routes
from dapr_sidecar.blocks.secrets import SecretsBlock, SecretScope
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.registry import component_class
from dapr_sidecar.components.secretstores.base import SecretStore

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
PARAMETER = "arn:aws:ssm:eu-west-1:123456789012:parameter/"
KEYS = {"region": "eu-west-1", "accessKey": "a", "secretKey": "b"}


class CarelessFakeStore(SecretStore):
    """Takes names in any case."""

    def __init__(self) -> None:
        super().__init__(None, ComponentContext("s", "app1"))

    def spellings(self, name: str) -> frozenset[str]:
        return frozenset((name.lower(),))

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        return {name: "v"}

    async def bulk_get(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        return {"ADMIN": {"ADMIN": "v"}, "user": {"user": "v"}}


async def test_over_the_api() -> None:
    scope = {"storeName": "s", "deniedSecrets": ["Admin"]}
    context = make_context({"secrets": {"scopes": [scope]}})
    context.components.secret_stores["s"] = loaded("s", CarelessFakeStore())
    api = HttpApi(routes(SecretsBlock(context)))
    for name in ("Admin", "admin", "aDMIN"):
        assert (await api.call("GET", f"/v1.0/secrets/s/{name}")).status == 403
    assert (await api.call("GET", "/v1.0/secrets/s/USER")).status == 200
    assert set((await api.call("GET", "/v1.0/secrets/s/bulk")).json) == {"user"}


def test_allowed_is_what_is_written() -> None:
    scope = SecretScope(allowed=frozenset({"Admin"}))
    assert scope.allows("Admin", lambda name: frozenset((name.lower(),)))
    assert not scope.allows("admin", lambda name: frozenset((name.lower(),)))


@pytest.mark.parametrize(
    ("kind", "denied", "asked", "is_denied"),
    [
        ("azure.keyvault", "Admin", "aDMIN", True),
        ("azure.keyvault", "Admin", "admins", False),
        ("aws.secretmanager", "admin", ARN + "admin-AbC123", True),
        ("aws.secretmanager", "admin", ARN + "admin", True),
        ("aws.secretmanager", "my-secret", ARN + "my-secret", True),
        ("aws.secretmanager", ARN + "admin-AbC123", "admin", True),
        ("aws.secretmanager", "admin", "Admin", False),
        ("aws.secretmanager", "admin", ARN + "team/admin-AbC123", False),
        ("aws.parameterstore", "admin", "admin:3", True),
        ("aws.parameterstore", "/team/admin", PARAMETER + "team/admin", True),
        ("aws.parameterstore", "admin", PARAMETER + "admin:label", True),
        ("aws.parameterstore", "admin", "admins:3", False),
        ("gcp.secretmanager", "admin", "Admin", False),
        ("hashicorp.vault", "admin", "Admin", False),
    ],
)
def test_by_store(kind: str, denied: str, asked: str, is_denied: bool) -> None:
    needed = {"vaultName": "abc", "projectID": "p", "endpoint": "http://x", "vaultToken": "t"}
    store = make(component_class(f"secretstores.{kind}", "v1"), **needed, **KEYS)
    scope = SecretScope(denied=frozenset({denied}))
    assert scope.allows(asked, store.spellings) is not is_denied
