"""``secretstores.aws.parameterstore``: the parameters of AWS Systems Manager, decrypted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dapr_sidecar.components.aws.client import AwsError
from dapr_sidecar.components.aws.settings import AwsSettings
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.secretstores.aws_client import PROBE, AwsSecretClient
from dapr_sidecar.components.secretstores.base import SecretStore
from dapr_sidecar.components.secretstores.reading import read_all

_PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterStoreSettings(AwsSettings):
    """Who we are, and which parameters are meant."""

    prefix: str = setting("prefix", default="", help="put before every name that is asked for")


class ParameterStore(SecretStore):
    """One secret is one parameter. A request may name a version or label (`version_id`)."""

    settings: ClassVar[type[Any]] = ParameterStoreSettings

    def __init__(self, settings: ParameterStoreSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._prefix = settings.prefix
        self._client = AwsSecretClient(settings, "ssm", "AmazonSSM")

    async def open(self) -> None:
        await self.ping()

    async def close(self) -> None:
        await self._client.close()

    async def ping(self) -> None:
        try:
            await self._client.probe("GetParameter", {"Name": self._prefix + PROBE})
        except AwsError as error:
            if error.code == "ValidationException":
                raise SettingsError(
                    f"invalid metadata field 'prefix': '{self._prefix}': expected the beginning "
                    f"of parameters' names: {error}"
                ) from error
            raise

    def spellings(self, name: str) -> frozenset[str]:
        """A parameter may be asked for by its ARN, and with a version or label after a colon."""
        if not name.startswith("arn:"):
            return frozenset((name.partition(":")[0],))
        last = name.partition(":parameter/")[2].partition(":")[0]
        return frozenset((name, last, "/" + last))

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        version = metadata.get("version_id")
        full = self._prefix + name + (f":{version}" if version else "")
        request = {"Name": full, "WithDecryption": True}
        answer = await self._client.secret(name, "GetParameter", request)
        return {name: answer.get("Parameter", {}).get("Value", "")}

    async def bulk_get(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """Every parameter whose name begins with the prefix, without it."""
        request: dict[str, Any] = {"MaxResults": _PAGE}
        if self._prefix:
            begins = {"Key": "Name", "Option": "BeginsWith", "Values": [self._prefix]}
            request["ParameterFilters"] = [begins]
        pages = self._client.pages("DescribeParameters", request, "Parameters")
        names = [entry["Name"].removeprefix(self._prefix) async for entry in pages]
        return await read_all(names, lambda name: self.get(name, {}))
