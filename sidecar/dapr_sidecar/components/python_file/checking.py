"""A class from a file against what its kind expects: wrong ones are told at load, not at a call."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dapr_sidecar.components.base import Component
from dapr_sidecar.components.bindings.base import OutputBinding
from dapr_sidecar.components.metadata import describe_settings
from dapr_sidecar.components.python_file.errors import PythonFileError
from dapr_sidecar.components.python_file.kinds import Kind, kind_of
from dapr_sidecar.components.state.base import Feature, StateStore

_ABILITIES = {Feature.TRANSACTIONAL: "transact", Feature.QUERY_API: "query"}


def check(found: object, name: str, kind: Kind, path: Path) -> type[Component]:
    """The class, if it can serve. Raises ``PythonFileError``."""
    if not isinstance(found, type):
        raise PythonFileError(path, f"'{name}' is no class but {_article(type(found).__name__)}")
    text, at = _fault(found, kind), found
    if text is None:
        return found
    raise PythonFileError(path, text, line=_line(at), within=f"class {name}")


def _fault(found: type, kind: Kind) -> str | None:
    if not kind.admits(found):
        return _other_kind(found, kind)
    checks = (_abstract(found, kind), _methods(found, kind), _settings(found), _attributes(found))
    return next((text for check in checks for text in check), None)


def _other_kind(found: type, kind: Kind) -> str:
    text = f"it is no {kind.words}: expected a subclass of {kind.expected}"
    if category := kind_of(found):
        text += f"; as it is, its type is {category}.python"
    return text


def _abstract(found: type, kind: Kind) -> Iterator[str]:
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        yield f"it lacks {', '.join(missing)}: every {kind.words} needs them"


def _methods(found: type, kind: Kind) -> Iterator[str]:
    for name in kind.calls:
        method = getattr(found, name, None)
        expected = next((getattr(base, name) for base in kind.bases if hasattr(base, name)), None)
        if method is None or method is expected:
            continue
        if not inspect.iscoroutinefunction(inspect.unwrap(method)):
            yield f"{name} is called with await: write 'async def {name}'"
        elif expected is not None and not _takes(method, expected):
            wants = ", ".join(inspect.signature(expected).parameters)
            yield (
                f"{name}{inspect.signature(method)} does not take what it is called with: "
                f"expected {name}({wants})"
            )


def _takes(method: Any, expected: Any) -> bool:
    try:
        inspect.signature(method).bind(*inspect.signature(expected).parameters)
    except TypeError:
        return False
    return True


def _settings(found: type) -> Iterator[str]:
    settings = getattr(found, "settings", None)
    if settings is None:
        return
    if not isinstance(settings, type) or not dataclasses.is_dataclass(settings):
        yield "'settings' is no dataclass: expected one whose fields are made with setting(...)"
        return
    try:
        described = {name for info in describe_settings(settings) for name in info.names}
    except NameError as error:
        yield f"the types of its settings cannot be read: {error}"
        return
    if reserved := sorted(described & {"file", "class"}):
        yield f"'{reserved[0]}' cannot be a setting: the manifest names the file and the class so"
    plain = [
        field.name
        for field in dataclasses.fields(settings)
        if "setting" not in field.metadata
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if plain:
        yield f"the field '{plain[0]}' of its settings can never be set: make it with setting(...)"


def _attributes(found: type) -> Iterator[str]:
    if issubclass(found, OutputBinding) and not _texts(getattr(found, "operations", None)):
        yield "it needs 'operations', a tuple of the names that invoke takes"
    if not issubclass(found, StateStore):
        return
    features = found.features
    if not isinstance(features, (set, frozenset)) or not all(
        isinstance(one, Feature) for one in features
    ):
        yield "'features' is no set of Feature"
        return
    for feature, method in _ABILITIES.items():
        if (feature in features) != callable(getattr(found, method, None)):
            yield f"the method {method} and Feature.{feature.name} in 'features' need each other"


def _texts(found: object) -> bool:
    return (
        isinstance(found, (tuple, list)) and bool(found) and all(isinstance(t, str) for t in found)
    )


def _line(found: type) -> int | None:
    try:
        return inspect.getsourcelines(found)[1]
    except (OSError, TypeError):
        return None


def _article(word: str) -> str:
    return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"
