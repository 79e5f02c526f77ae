"""``secretstores.local.env``: this process's environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.secretstores.base import SecretStore


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEnvSettings:
    """Settings of ``secretstores.local.env``."""

    prefix: str = setting("prefix", default="", help="put before every name that is asked for")


class LocalEnvSecretStore(SecretStore):
    """A variable that is unset, or that nobody may read, is an empty secret and no error."""

    settings: ClassVar[type[Any]] = LocalEnvSettings

    def __init__(
        self,
        settings: LocalEnvSettings,
        context: ComponentContext,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(settings, context)
        self._prefix = settings.prefix
        self._environment = os.environ if environment is None else environment

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        variable = self._prefix + name
        value = self._environment.get(variable, "") if _is_readable(variable) else ""
        return {name: _text(value)}

    async def bulk_get(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for variable, value in self._environment.items():
            if variable.startswith(self._prefix) and _is_readable(variable):
                name = _text(variable.removeprefix(self._prefix))
                found[name] = {name: _text(value)}
        return found


def _is_readable(variable: str) -> bool:
    upper = variable.upper()
    return upper not in ("", "APP_API_TOKEN") and not upper.startswith("DAPR_")


def _text(value: str) -> str:
    # The environment is bytes; what is no UTF-8 must not break the answer.
    return value if value.isascii() else value.encode("utf-8", "replace").decode()
