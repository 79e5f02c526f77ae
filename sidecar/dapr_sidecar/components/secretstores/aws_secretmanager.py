"""``secretstores.aws.secretmanager``: AWS Secrets Manager, by signed calls to the service."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dapr_sidecar.components.aws.settings import AwsSettings
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.secretstores.aws_client import PROBE, AwsSecretClient
from dapr_sidecar.components.secretstores.base import SecretStore
from dapr_sidecar.components.secretstores.reading import as_texts, read_all

_PAGE = 100
_RANDOM = re.compile(r"-[A-Za-z0-9]{6}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsManagerSettings(AwsSettings):
    """Who we are, and what a secret is."""

    multiple: bool = setting(
        "multipleKeyValuesPerSecret",
        default=False,
        help="a secret that is a JSON object has its members as keys",
    )


class SecretsManagerStore(SecretStore):
    """A request may name a version (`version_id`, `version_stage`). Bytes are given in base64."""

    settings: ClassVar[type[Any]] = SecretsManagerSettings

    def __init__(self, settings: SecretsManagerSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._multiple = settings.multiple
        self._client = AwsSecretClient(settings, "secretsmanager", "secretsmanager")

    def capabilities(self) -> list[str]:
        return ["MULTIPLE_KEY_VALUES_PER_SECRET"] if self._multiple else []

    async def open(self) -> None:
        await self.ping()

    async def close(self) -> None:
        await self._client.close()

    async def ping(self) -> None:
        await self._client.probe("GetSecretValue", {"SecretId": PROBE})

    def spellings(self, name: str) -> frozenset[str]:
        """A secret may be asked for by its ARN: the name, with six random letters or without."""
        if not name.startswith("arn:"):
            return frozenset((name,))
        last = name.rpartition(":secret:")[2]
        return frozenset((name, last, _RANDOM.sub("", last)))

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        request = {"SecretId": name}
        for key, member in (("version_id", "VersionId"), ("version_stage", "VersionStage")):
            if wanted := metadata.get(key):
                request[member] = wanted
        answer = await self._client.secret(name, "GetSecretValue", request)
        # In the JSON protocol, bytes are base64 already.
        text = answer.get("SecretString") or answer.get("SecretBinary") or ""
        return self._values(name, text)

    async def bulk_get(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        pages = self._client.pages("ListSecrets", {"MaxResults": _PAGE}, "SecretList")
        names = [entry["Name"] async for entry in pages]
        return await read_all(names, lambda name: self.get(name, {}))

    def _values(self, name: str, text: str) -> dict[str, str]:
        """What is no JSON object is one value, whatever the setting."""
        if self._multiple and text.lstrip().startswith("{"):
            try:
                found = json.loads(text)
            except ValueError:
                return {name: text}
            if isinstance(found, dict):
                return as_texts(found)
        return {name: text}
