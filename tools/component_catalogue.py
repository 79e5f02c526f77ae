"""Write ``common/dapr_common/kube/component_catalogue.json`` from the components' settings classes.

Admission reads it: programs do not import each other, and a webhook need not load a sidecar's
libraries. ``python tools/component_catalogue.py`` writes; with ``--check`` it fails when stale.
"""

from __future__ import annotations

import json
import sys
from dataclasses import is_dataclass
from datetime import timedelta
from enum import Enum
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, get_args, get_origin

from dapr_common.durations import format_go_duration
from dapr_sidecar.components.metadata import SettingInfo, describe_settings
from dapr_sidecar.components.registry import KIND_WORDS, TYPES, component_class

_ROOT = Path(__file__).resolve().parents[1]
FILE = _ROOT / "common" / "dapr_common" / "kube" / "component_catalogue.json"
_COMMON_TYPES = {"actorStateStore": "boolean", "outboxDiscardWhenMissingState": "boolean"}
_COMMON_SECRETS = ("primaryEncryptionKey", "secondaryEncryptionKey")
_WORDS = {str: "text", bool: "boolean", int: "integer", float: "number"}


def catalogue() -> dict[str, Any]:
    """Everything: what each kind takes, and each type by name."""
    common = _component_docs().COMMON
    kinds = {kind: [_common(name) for name in common.get(kind, {})] for kind in KIND_WORDS}
    types: dict[str, dict[str, Any]] = {}
    for key in TYPES:
        name, version = key.rsplit("/", 1)
        settings = describe_settings(component_class(name, version).settings)
        types.setdefault(name, {})[version] = [_field(setting) for setting in settings]
    return {"kinds": kinds, "types": types}


def text() -> str:
    """The file."""
    return json.dumps(catalogue(), indent=1, ensure_ascii=False) + "\n"


def _common(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "type": _COMMON_TYPES.get(name, "text")}
    if name in _COMMON_SECRETS:
        found["secret"] = True
    return found


def _field(setting: SettingInfo) -> dict[str, Any]:
    name, *aliases = setting.names
    kind = _type(setting)
    found: dict[str, Any] = {"name": name, "type": kind}
    if aliases:
        found["aliases"] = aliases
    if setting.required:
        found["required"] = True
    elif (default := _default(setting.default)) not in (None, ""):
        found["default"] = default
    if setting.secret:
        found["secret"] = True
    if kind == "choice":
        found["allowed"] = [str(member.value) for member in _plain(setting.type)]
    return found


def _type(setting: SettingInfo) -> str:
    if setting.is_size:
        return "size"
    hint = _plain(setting.type)
    if setting.is_special:
        return "any"
    if hint is timedelta:
        return "duration"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "choice"
    if get_origin(hint) in (tuple, list, frozenset):
        return "list"
    return _WORDS.get(hint, "any")


def _plain(hint: Any) -> Any:
    if isinstance(hint, UnionType):
        return next(option for option in get_args(hint) if option is not type(None))
    return hint


def _default(value: Any) -> Any:
    if isinstance(value, timedelta):
        return format_go_duration(value)
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, (tuple, list, frozenset)):
        return ",".join(
            sorted(map(str, value)) if isinstance(value, frozenset) else map(str, value)
        )
    return None if is_dataclass(value) or isinstance(value, dict) else value


def _component_docs() -> ModuleType:
    """The names that every component of a kind takes stand there, with what they mean."""
    spec = spec_from_file_location("component_docs", Path(__file__).with_name("component_docs.py"))
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def is_stale() -> bool:
    """Whether the file is not what it should be."""
    return not FILE.exists() or FILE.read_text(encoding="utf-8") != text()


def main() -> int:
    """Write the file, or check it."""
    if "--check" in sys.argv[1:]:
        if is_stale():
            print(f"{FILE.relative_to(_ROOT)} is stale: run `make docs`")
            return 1
        return 0
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
