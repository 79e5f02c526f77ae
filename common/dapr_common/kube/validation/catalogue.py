"""What each component type takes, as generated from the sidecar's settings classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

_FILE = "component_catalogue.json"
_ELSEWHERE = frozenset({"conversation"})
"""Kinds that other sidecars have components of."""


@dataclass(frozen=True, slots=True)
class Field:
    """One metadata field; ``names`` begin with the one to use."""

    names: tuple[str, ...]
    type: str
    required: bool = False
    secret: bool = False
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Fields by kind, and by type and version. Types are in lower case."""

    kinds: Mapping[str, tuple[Field, ...]]
    types: Mapping[str, Mapping[str, tuple[Field, ...]]]

    @property
    def known_kinds(self) -> frozenset[str]:
        """The first words of types."""
        return frozenset(self.kinds) | _ELSEWHERE

    def fields(self, type_name: str, version: str) -> tuple[Field, ...]:
        """What a type takes, with what every one of its kind takes."""
        kind = type_name.partition(".")[0]
        return (*self.types[type_name][version], *self.kinds[kind])


@cache
def catalogue() -> Catalogue:
    """The one of this release."""
    raw = orjson.loads(files("dapr_common.kube").joinpath(_FILE).read_bytes())
    return Catalogue(
        {kind: _fields(entries) for kind, entries in raw["kinds"].items()},
        {
            name: {version: _fields(entries) for version, entries in versions.items()}
            for name, versions in raw["types"].items()
        },
    )


def _fields(entries: Iterable[Mapping[str, Any]]) -> tuple[Field, ...]:
    return tuple(
        Field(
            names=(entry["name"], *entry.get("aliases", ())),
            type=entry["type"],
            required=bool(entry.get("required")),
            secret=bool(entry.get("secret")),
            allowed=tuple(entry.get("allowed", ())),
        )
        for entry in entries
    )
