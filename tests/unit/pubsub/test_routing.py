from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from typing import Any

import pytest

from dapr_common.kube.resources import Rule
from dapr_common.match_expressions import RouteError, RuleError, check_match
from dapr_sidecar.blocks.pubsub.routing import Routes

EVENT: dict[str, Any] = {"type": "a", "data": {"n": 10, "big": 6.5, "list": [1, 2], "b": True}}


def route(match: str, event: Any = EVENT) -> str | None:
    return Routes([Rule(match, "/yes")], None).find(event)


@pytest.mark.parametrize(
    "match",
    [
        "",
        '  event.type == "a" ',
        "event.type == 'a'",
        'event["type"] == "a"',
        "event.data.n > 5",
        "event.data.n == 10",
        "event.data.n + 1.0 > 10.5",
        "5 < event.data.big",
        "has(event.data.n) && !has(event.data.x)",
        "event.data.list.exists(x, x > 1)",
        "event.data.b",
        'event.type.startsWith("a")',
    ],
)
def test_matches(match: str) -> None:
    assert route(match) == "/yes"


@pytest.mark.parametrize("match", ['event.type == "b"', "event.data.n < 5", "has(event.data.x)"])
def test_does_not_match(match: str) -> None:
    assert route(match) is None


@pytest.mark.parametrize(
    "match", ["event.data.x == 1", "unknown == 1", "event.data.n", "event.type"]
)
def test_cannot_be_evaluated(match: str) -> None:
    with pytest.raises(RouteError):
        route(match)


@pytest.mark.parametrize("event", [{}, "raw text"])
def test_the_short_form_fails_where_the_evaluator_fails(event: Any) -> None:
    with pytest.raises(RouteError, match="no such key: type"):
        route('event.type == "a"', event)


def test_a_literal_with_an_escape_is_evaluated() -> None:
    assert route(r'event.type == "\u0061"') == "/yes"


@pytest.mark.parametrize("match", ["event.type ==", "(", 'event.type === "a"'])
def test_a_bad_expression_is_refused(match: str) -> None:
    with pytest.raises(RuleError, match="not valid CEL"):
        Routes([Rule(match, "/x")], None)


@pytest.mark.parametrize(
    "match",
    [
        "1 + " * 50_000 + "1 == 1",  # recursion beyond the stack: the process was gone
        "event" + ".f()" * 50_000,
        " " * 70_000 + "'a",  # the evaluator panics over the column
    ],
)
def test_a_long_expression_is_refused_before_it_does_harm(match: str) -> None:
    code = (
        "import sys\n"
        "from dapr_common.match_expressions import RuleError, check_match\n"
        "try:\n    check_match(sys.stdin.read())\n"
        "except RuleError as error:\n    print(error)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=match, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().endswith("…' is longer than 4096 characters")


def test_the_longest_expression_that_is_taken() -> None:
    for begin, each, end in (
        ("", "1 + ", "1.0 > 0.0"),
        ("event.data", ".f()", ""),
        ("[1]", ".map(x,x)", " == [1]"),
        ("", "!", "true"),
        ("", "(", ""),
    ):
        match = begin + each * ((4096 - len(begin + end)) // len(each)) + end
        with contextlib.suppress(RuleError):
            check_match(match)


@pytest.mark.parametrize(
    "match",
    [
        "[1,2,3,4,5,6,7,8,9,0].all(a, " * 12 + "true" + ")" * 12,
        "'a'.matches('((\\\\w{100}){50}){50}') || " * 90 + "true",
    ],
)
def test_what_strangers_write_is_checked_in_a_moment(match: str) -> None:
    began = time.process_time()
    check_match(match)
    assert time.process_time() - began < 1


def test_a_panic_of_the_evaluator_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    class Program:
        def execute(self, event: object) -> bool:
            raise PanicException("unreachable")

    class Evaluator:
        def compile(self, text: str) -> Program:
            if text == "bad":
                raise PanicException("out of range")
            return Program()

    monkeypatch.setattr("dapr_common.match_expressions._evaluator", Evaluator)
    with pytest.raises(RuleError, match="out of range"):
        Routes([Rule("bad", "/x")], None)
    with pytest.raises(RouteError, match="unreachable"):
        route("event.data.b")


def test_the_first_rule_wins_then_the_default() -> None:
    rules = [Rule('event.type == "b"', "/b"), Rule("", "/all"), Rule('event.type == "a"', "/a")]
    assert Routes(rules, "/d").find(EVENT) == "/all"
    assert Routes(rules[:1], "/d").find(EVENT) == "/d"


def test_the_evaluator_brings_no_command_line() -> None:
    code = (
        "import sys; from dapr_common.match_expressions import compile_match;"
        "compile_match('event.data.n > 5'); print('typer' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
