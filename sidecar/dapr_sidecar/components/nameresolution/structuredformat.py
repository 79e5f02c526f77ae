"""The ``structuredformat`` resolver: addresses are listed in a document."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from dapr_common.aio.host import join_host_port
from dapr_common.kube.yaml_text import load_yaml
from dapr_common.words import kind_of
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.nameresolution.base import Resolver

_HOSTS = ("domain", "ipv4", "ipv6")


class StructuredType(Enum):
    """The document's language, and whether it is a file."""

    JSON = "json"
    YAML = "yaml"
    JSON_FILE = "jsonFile"
    YAML_FILE = "yamlFile"


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredFormatSettings:
    """Settings of the resolver."""

    structured_type: StructuredType = setting("structuredType", help="how the list is given")
    string_value: str = setting(
        "stringValue", default="", help="the list, when the type is `json` or `yaml`"
    )
    file_path: str = setting(
        "filePath", default="", help="file with the list, when the type is `jsonFile` or `yamlFile`"
    )


class StructuredResolver(Resolver):
    """`appInstances` maps app ids to lists of `domain`, `ipv4` or `ipv6`, and `port`."""

    settings = StructuredFormatSettings

    def __init__(self, settings: StructuredFormatSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._options = settings
        self._addresses: dict[str, list[str]] = {}

    async def open(self) -> None:
        """Read the list, once."""
        self._addresses = _addresses(await self._document())

    async def resolve(self, app_id: str, namespace: str, port: int) -> str:
        """Any address of the list."""
        known = self._addresses.get(app_id)
        if not known:
            raise LookupError(f"no addresses found for app id '{app_id}'")
        return random.choice(known)  # noqa: S311 - spreads load

    async def _document(self) -> object:
        kind = self._options.structured_type
        if kind in (StructuredType.JSON, StructuredType.YAML):
            where, text = "stringValue", self._options.string_value
        else:
            where, text = "filePath", await _read(self._options.file_path)
        try:
            if kind in (StructuredType.JSON, StructuredType.JSON_FILE):
                return json.loads(text)
            return load_yaml(text)
        except (ValueError, yaml.YAMLError) as error:
            raise ValueError(f"invalid '{where}': {error}") from error


async def _read(path: str) -> str:
    try:
        return await asyncio.to_thread(Path(path).read_text, "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise ValueError(f"invalid 'filePath': {path}: {cause}") from error


def _addresses(document: object) -> dict[str, list[str]]:
    apps = document.get("appInstances") if isinstance(document, Mapping) else None
    if not isinstance(apps, Mapping):
        raise ValueError("the list of addresses has no mapping 'appInstances'")
    return {str(app_id): _listed(items, f"appInstances.{app_id}") for app_id, items in apps.items()}


def _listed(items: object, where: str) -> list[str]:
    if not isinstance(items, list):
        raise ValueError(f"{where} must be a list of addresses, not {kind_of(items)}")
    return [_address(item, f"{where}[{number}]") for number, item in enumerate(items)]


def _address(item: Any, where: str) -> str:
    given = item if isinstance(item, Mapping) else {}
    host = next((str(given[name]) for name in _HOSTS if given.get(name)), "")
    port = given.get("port")
    if not host:
        raise ValueError(f"{where}: one of domain, ipv4 and ipv6 is needed")
    if type(port) is not int or not 0 < port < 65536:
        raise ValueError(f"{where}: port must be a number from 1 to 65535, not {port!r}")
    return join_host_port(host, port)
