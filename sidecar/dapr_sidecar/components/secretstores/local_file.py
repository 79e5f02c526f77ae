"""``secretstores.local.file``: a JSON file, read once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.secretstores.base import SecretStore

_LOG = get_logger("dapr.contrib.secretstores.local.file")
_SEPARATOR = ":"


class _Number(str):
    """A JSON number as it was written: no digit is lost."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFileSettings:
    """Settings of ``secretstores.local.file``."""

    secrets_file: str = setting("secretsFile", help="path of a file with one JSON object")
    separator: str = setting("nestedSeparator", default=_SEPARATOR, help="between nested names")
    multi_valued: bool = setting(
        "multiValued", default=False, help="top-level objects are secrets of several keys"
    )


class LocalFileSecretStore(SecretStore):
    """Nested objects and lists are flattened; numbers, booleans and null are their JSON text."""

    settings: ClassVar[type[Any]] = LocalFileSettings

    def __init__(self, settings: LocalFileSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._path = settings.secrets_file
        self._separator = settings.separator or _SEPARATOR
        self._multi_valued = settings.multi_valued
        self._secrets: dict[str, dict[str, str]] = {}

    def capabilities(self) -> list[str]:
        return ["MULTIPLE_KEY_VALUES_PER_SECRET"] if self._multi_valued else []

    async def open(self) -> None:
        content = _read(self._path)
        if self._multi_valued:
            self._secrets = self._several(content)
        else:
            flat = _flatten(content, "", self._separator)
            self._secrets = {name: {name: value} for name, value in flat}

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        if (found := self._secrets.get(name)) is None:
            raise LookupError(f"secret {name} not found")
        return dict(found)

    async def bulk_get(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        return {name: dict(values) for name, values in self._secrets.items()}

    def _several(self, content: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        secrets: dict[str, dict[str, str]] = {}
        for name, value in content.items():
            if isinstance(value, str) and not isinstance(value, _Number):
                secrets[name] = {name: value}
            elif isinstance(value, dict):
                secrets[name] = dict(_flatten(value, "", self._separator))
            else:
                _LOG.warning(
                    "%s: '%s' is neither a string nor an object; it is no secret while "
                    "multiValued is on",
                    self._path,
                    name,
                )
        return secrets


def _read(path: str) -> dict[str, Any]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"invalid metadata field 'secretsFile': '{path}': {reason}") from error
    try:
        content = json.loads(
            text, parse_int=_Number, parse_float=_Number, parse_constant=_no_constant
        )
    except ValueError as error:
        # The decoder's own text names a place; it never quotes the secrets.
        raise SettingsError(
            f"invalid metadata field 'secretsFile': '{path}' is not JSON: {error}"
        ) from None
    if not isinstance(content, dict):
        raise SettingsError(
            f"invalid metadata field 'secretsFile': '{path}': expected one JSON object"
        )
    return content


def _no_constant(word: str) -> str:
    raise ValueError(f"{word} is not JSON")


def _flatten(value: object, name: str, separator: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(inner, f"{name}{separator}{key}" if name else key, separator)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _flatten(inner, f"{name}{separator}{index}", separator)
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    else:
        yield name, "null" if value is None else str(value)
