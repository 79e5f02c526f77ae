"""Match expressions of subscriptions: CEL over one event."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

Event = Mapping[str, Any]
Matcher = Callable[[Event], bool]

# The commonest rule needs no evaluator: no escapes, so the literal means itself.
_TYPE_EQUALS = re.compile(r"""\s*event\.type\s*==\s*(?:"([^"\\\n]*)"|'([^'\\\n]*)')\s*""")
_UNDEFINED = "Undefined variable or function"
# The evaluator follows the structure of an expression by recursion: one that is much longer, and
# made for it, is beyond the stack and takes the process with it.
_LONGEST = 4096
_SHOWN = 80
# Loops repeat a part for each of many elements: nested in each other, for ever. Regular expressions
# are compiled at each run, which may take a second.
_COSTLY = re.compile(r"\b(?:all|exists|exists_one|existsOne|map|filter|matches)\b")


class RuleError(ValueError):
    """A match expression cannot be compiled."""


class MissingEvaluatorError(RuleError):
    """Nothing here can compile more than the simplest expression."""


class RouteError(Exception):
    """A match expression cannot be evaluated for an event; a failed delivery."""


class HopelessRouteError(RouteError):
    """It cannot be evaluated, whatever the event."""


def compile_match(text: str) -> Matcher | None:
    """Compile a match expression; ``None`` for the empty one, which always matches."""
    if not text.strip():
        return None
    if literal := _TYPE_EQUALS.fullmatch(text):
        return _type_equals(literal[1] if literal[1] is not None else literal[2])
    return _expression(text)


def check_match(text: str) -> None:
    """Compile, and find what only shows when an event comes. Raises ``RuleError``.

    Made for texts of strangers: what may take long is compiled only.
    """
    matches = compile_match(text)
    if matches is None or _COSTLY.search(text):
        return
    try:
        matches({})
    except HopelessRouteError as error:
        raise RuleError(str(error)) from error
    except RouteError:
        return  # this event has no members, others do


def _type_equals(wanted: str) -> Matcher:
    def matches(event: Event) -> bool:
        try:
            return bool(event["type"] == wanted)
        except (KeyError, TypeError):  # a raw payload of a batch is text, not an object
            raise RouteError("no such key: type") from None

    return matches


def _expression(text: str) -> Matcher:
    if len(text) > _LONGEST:
        raise RuleError(f"match expression '{text[:_SHOWN]}…' is longer than {_LONGEST} characters")
    evaluator = _evaluator()
    try:
        program = evaluator.compile(text)
    except BaseException as error:
        if isinstance(error, Exception) or _is_panic(error):
            raise RuleError(f"match expression '{text}' is not valid CEL: {error}") from error
        raise

    def matches(event: Event) -> bool:
        try:
            result = program.execute({"event": _as_cel(event)})
        except KeyError as error:
            raise RouteError(f"no such key: {error.args[0]}") from error
        except Exception as error:
            kind = HopelessRouteError if _UNDEFINED in str(error) else RouteError
            raise kind(f"match expression '{text}' failed: {error}") from error
        except BaseException as error:
            if _is_panic(error):
                raise RouteError(f"match expression '{text}' failed: {error}") from error
            raise
        if not isinstance(result, bool):
            raise HopelessRouteError(f"the result of match expression {text} was not a boolean")
        return result

    return matches


def _is_panic(error: BaseException) -> bool:
    """Whether the evaluator met what it did not expect.

    That is a ``BaseException`` of its own, which nobody else catches: not who delivers an event,
    and not who loads a subscription.
    """
    return type(error).__name__ == "PanicException"


def _as_cel(value: Any) -> Any:
    """Numbers are doubles in a CloudEvent's JSON."""
    if isinstance(value, dict):
        return {name: _as_cel(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_as_cel(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


@cache
def _evaluator() -> Any:
    """The compiled part of the ``cel`` package alone: the package itself drags its command in."""
    package = importlib.util.find_spec("cel")
    if package is None or not package.submodule_search_locations:
        raise MissingEvaluatorError(
            "match expressions need the Python package 'common-expression-language', "
            "which is not installed"
        )
    for folder in package.submodule_search_locations:
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = Path(folder) / f"cel{suffix}"
            if path.exists():
                loader = importlib.machinery.ExtensionFileLoader("cel.cel", str(path))
                spec = importlib.util.spec_from_loader("cel.cel", loader)
                assert spec is not None
                module = importlib.util.module_from_spec(spec)
                loader.exec_module(module)
                return module
    import cel

    return cel
