"""The registry's table, the component folders and the suites' table name the same components."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path

import pytest
from harness.component_table import TABLE

import dapr_sidecar.components as package
from dapr_sidecar.components.base import Component
from dapr_sidecar.components.metadata import setting_names
from dapr_sidecar.components.registry import (
    KIND_WORDS,
    TYPES,
    UnknownComponentError,
    component_class,
)

# Kinds whose components are tested elsewhere: each is a thing of its own.
WITHOUT_A_SUITE = {"nameresolution", "middleware"}
KINDS = sorted({location.partition(".")[0] for location in TYPES.values()})


def in_folder(kind: str) -> set[type[Component]]:
    """Concrete component classes defined below ``components/<kind>``."""
    folder = Path(package.__path__[0]) / kind
    found: set[type[Component]] = set()
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join((package.__name__, kind, *(part for part in parts if part != "__init__")))
        for value in vars(import_module(name)).values():
            if isinstance(value, type) and issubclass(value, Component):
                abstract = getattr(value, "__abstractmethods__", None)
                if value.__module__.startswith(name) and not abstract and "settings" in vars(value):
                    found.add(value)
    return found


def registered() -> dict[str, type[Component]]:
    return {key: component_class(*key.rsplit("/", 1)) for key in TYPES}


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_in_the_folder_is_registered(kind: str) -> None:
    expected = {found for found in registered().values() if f".{kind}." in found.__module__ + "."}
    assert in_folder(kind) == expected


@pytest.mark.parametrize("key", TYPES)
def test_types_belong_to_their_folder(key: str) -> None:
    category = key.partition(".")[0]
    assert category in KIND_WORDS
    assert TYPES[key].startswith(category + ".")
    found = component_class(*key.rsplit("/", 1))
    assert dataclasses.is_dataclass(found.settings)
    setting_names(found.settings)


def test_every_component_is_in_the_suites_table() -> None:
    listed = {
        f"{entry['type']}/{entry.get('version', 'v1')}"
        for entries in TABLE.values()
        for entry in entries
        if "outside" not in entry
    }
    wanted = {key for key in TYPES if key.partition(".")[0] not in WITHOUT_A_SUITE}
    assert listed == wanted


@pytest.mark.parametrize("kind", TABLE)
def test_every_kind_in_the_table_has_a_suite(kind: str) -> None:
    suite = Path(__file__).with_name(f"test_{kind}.py")
    assert f'KIND = "{kind}"' in suite.read_text()
    assert all(entry["type"].startswith(kind + ".") for entry in TABLE[kind])


@pytest.mark.parametrize(
    ("type_name", "version", "text"),
    [
        ("state.nope", "", "couldn't find state store state.nope/v1"),
        ("state.redis", "v9", "couldn't find state store state.redis/v9"),
        ("nope.redis", "v1", "incorrect type nope.redis"),
    ],
)
def test_unknown_types(type_name: str, version: str, text: str) -> None:
    with pytest.raises(UnknownComponentError, match=text):
        component_class(type_name, version)


def test_spelling_and_versions() -> None:
    expected = component_class("state.redis", "v1")
    assert component_class("state.Redis", "") is expected
    assert component_class("state.redis", "V0") is expected
