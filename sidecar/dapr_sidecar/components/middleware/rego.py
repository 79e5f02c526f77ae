"""One Rego policy: checked as a whole when it is loaded, evaluated for each request."""

from __future__ import annotations

import re
from typing import Any

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.middleware.rego_functions import FUNCTIONS

try:
    import regorus
except ModuleNotFoundError as error:  # told to the user by the name it is installed by
    raise ModuleNotFoundError(str(error), name="gordon-to-regorus") from error

_LOG = get_logger("dapr.contrib")
_FILE = "policy.rego"
_KEYWORDS = frozenset({"if", "not", "in", "some", "every", "with", "as", "else", "default"})
_UNLISTED = frozenset({"print"})
# Listed, but it never gives anything.
_MISSING = frozenset({"http.send"})
# Texts and comments first: what looks like a call in them is none.
_CALL = re.compile(
    r'"(?:\\.|[^"\\\n])*"|`[^`]*`|#[^\n]*|(?<![\w.])([A-Za-z_][\w]*(?:\.[A-Za-z_]\w*)*)\('
)
_FUNCTION = re.compile(r"(?m)^[ \t]*([A-Za-z_][\w.]*)\([^)]*\)\s*(?::?=|\{|if\b|contains\b)")
_IMPORT = re.compile(r"(?m)^[ \t]*import[ \t]+([\w.]+)(?:[ \t]+as[ \t]+(\w+))?")
_PLACE = re.compile(re.escape(_FILE) + r":(\d+):\d+")
_ERROR = re.compile(r"(?m)^error: (.*)$")


class PolicyError(ValueError):
    """The policy is wrong, or cannot decide; the text names the line where it is known."""


class Policy:
    """The rule ``allow`` of the package ``http``.

    The engine runs in the caller's thread: it holds the interpreter's lock while it evaluates, so
    another thread would not free the event loop, and a policy takes some ten microseconds.
    """

    def __init__(self, text: str) -> None:
        """Load the policy. Raises ``PolicyError``."""
        self._engine = _parsed(text)
        _check_calls(text, _builtins())
        for name, count, function in FUNCTIONS:
            self._engine.add_extension(name, count, function)
        self._engine.set_gather_prints(True)
        self.allow({})  # the engine looks at the whole policy when it evaluates for the first time

    def allow(self, given: dict[str, Any]) -> Any:
        """What ``allow`` is for an input; nothing when it is undefined. Raises ``PolicyError``."""
        self._engine.set_input(given)
        try:
            return self._engine.eval_rule("data.http.allow")
        except RuntimeError as error:
            raise PolicyError(_worded(error)) from None
        except BaseException as error:
            # A defect of the engine comes as an exception that is none of Python's own.
            if type(error).__name__ != "PanicException":
                raise
            raise PolicyError("the engine has failed") from None
        finally:
            for line in self._engine.take_prints():
                _LOG.debug("policy: %s", line)


def _parsed(text: str) -> Any:
    """An engine with the policy, in the syntax before OPA 1.0 or the one since."""
    errors: list[PolicyError] = []
    for before_v1 in (True, False):
        engine = regorus.Engine()
        engine.set_rego_v0(before_v1)
        try:
            engine.add_policy(_FILE, text)
        except RuntimeError as error:
            errors.append(PolicyError(_worded(error)))
        else:
            return engine
    # The syntax that was meant is the one in which more could be read.
    raise max(errors, key=lambda error: int((re.findall(r"line (\d+)", str(error)) or ["0"])[0]))


def _builtins() -> frozenset[str]:
    runtime = regorus.Engine().eval_query("opa.runtime().builtins")
    listed = frozenset(runtime["result"][0]["expressions"][0]["value"])
    return (listed | _UNLISTED) - _MISSING


def _check_calls(text: str, builtins: frozenset[str]) -> None:
    """Refuse calls of what does not exist: the engine finds them only when it comes to them."""
    own = set(_FUNCTION.findall(text)) | {name for name, _, _ in FUNCTIONS} | _KEYWORDS
    imported = {alias or path.rpartition(".")[2] for path, alias in _IMPORT.findall(text)}
    imported.add("data")
    for call in _CALL.finditer(text):
        name = call[1]
        if name is None or name in own or name.partition(".")[0] in imported:
            continue
        if name not in builtins:
            line = text.count("\n", 0, call.start(1)) + 1
            raise PolicyError(f"line {line}: there is no function '{name}'")


def _worded(error: Exception) -> str:
    """The engine's report in one line: where, and what."""
    report = str(error).partition("\n\nStack backtrace")[0]
    place, found = _PLACE.search(report), _ERROR.search(report)
    reason = found[1] if found is not None else report.strip().splitlines()[-1]
    if reason == "not a valid rule path":
        reason = "the policy has no rule 'allow' in package 'http'"
    return f"line {place[1]}: {reason}" if place is not None else reason
