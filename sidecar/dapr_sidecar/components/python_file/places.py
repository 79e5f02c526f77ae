"""A class from a file, whose failures say where in the file they came up."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import new_class
from typing import Any

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import Component
from dapr_sidecar.components.bindings.base import InvokeError
from dapr_sidecar.components.python_file.errors import PythonFileError, line_of, shown
from dapr_sidecar.components.python_file.kinds import Kind
from dapr_sidecar.components.state.base import BulkError, EtagError, StateStore

_LOG = get_logger("dapr.runtime.python")
_AT_LOAD = "open"
_MEANT = (EtagError, BulkError, InvokeError)
"""What a component tells by an exception; nothing is wrong with it."""

Call = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class NoSettings:
    """There is nothing to set."""


def placed(found: type[Component], kind: Kind, path: Path) -> type[Component]:
    """A subclass: what fails at load names file, line and class; later, the log does."""
    methods: dict[str, Any] = {
        name: (_at_load if name == _AT_LOAD else _later)(getattr(found, name), found, path)
        for name in kind.calls
        if hasattr(found, name)
    }
    methods["__init__"] = _construction(found, path)
    methods["__module__"], methods["__doc__"] = found.__module__, found.__doc__
    if not hasattr(found, "settings"):
        methods["settings"] = NoSettings
    if issubclass(found, StateStore) and set(found.feature_order) != found.features:
        methods["feature_order"] = tuple(sorted(found.features, key=lambda one: one.value))
        methods["features"] = frozenset(found.features)
    made: type[Component] = new_class(
        found.__name__, (found,), exec_body=lambda d: d.update(methods)
    )
    return made


def _construction(found: type[Component], path: Path) -> Callable[..., None]:
    @functools.wraps(found.__init__)
    def construct(self: Component, *arguments: Any) -> None:
        try:
            found.__init__(self, *arguments)
        except Exception as error:
            raise _error(error, found, path) from error

    return construct


def _at_load(method: Call, found: type[Component], path: Path) -> Call:
    @functools.wraps(method)
    async def call(*arguments: Any) -> Any:
        try:
            return await method(*arguments)
        except Exception as error:
            raise _error(error, found, path) from error

    return call


def _later(method: Call, found: type[Component], path: Path) -> Call:
    """Without the error's text, which may have a user's data in it; the caller gets that."""

    @functools.wraps(method)
    async def call(*arguments: Any, **named: Any) -> Any:
        try:
            return await method(*arguments, **named)
        except _MEANT:
            raise
        except Exception as error:
            place = f"{path}, line {line_of(error, path)}"
            name = f"{found.__name__}.{method.__name__}"
            _LOG.warning("%s, %s: %s", place, name, type(error).__name__)
            raise

    return call


def _error(error: Exception, found: type[Component], path: Path) -> PythonFileError:
    line, within = line_of(error, path), f"class {found.__name__}"
    return PythonFileError(path, shown(error), line=line, within=within)
