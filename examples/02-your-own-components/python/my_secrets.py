"""A secret store: one section of an INI file."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.secretstores.base import SecretStore


@dataclass(frozen=True, slots=True, kw_only=True)
class MySecretsSettings:
    """What a manifest may say."""

    path: str = setting("path", help="the INI file")
    section: str = setting("section", default="secrets", help="its section")


class MySecrets(SecretStore):
    """Read once, when the component is loaded."""

    settings = MySecretsSettings

    def __init__(self, settings: MySecretsSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._path = Path(settings.path)
        self._section = settings.section
        self._found: dict[str, str] = {}

    async def open(self) -> None:
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign] - names keep their case
        parser.read_string(self._path.read_text(encoding="utf-8"), source=str(self._path))
        if self._section not in parser:
            raise ValueError(f"'section': {self._path} has no section {self._section}")
        self._found = dict(parser[self._section])

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        if name not in self._found:
            raise LookupError(f"there is no secret {name}")
        return {name: self._found[name]}

    async def bulk_get(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        return {name: {name: value} for name, value in self._found.items()}
