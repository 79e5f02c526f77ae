"""The ``trip`` expression of a circuit breaker: the part of CEL that integers need.

Literals, the five counters, ``+ - * / %``, comparisons, ``in`` a list, ``! && || ?:``,
parentheses, ``int()`` and ``double()``; checked for its types when it is loaded.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

Counters = Mapping[str, int]
Trip = Callable[[Counters], bool]
Type = Literal["int", "double", "bool"]
_Evaluate = Callable[[Counters], Any]
_Typed = tuple[Type, _Evaluate]

VARIABLES = (
    "requests",
    "totalSuccesses",
    "totalFailures",
    "consecutiveSuccesses",
    "consecutiveFailures",
)
DEFAULT = "consecutiveFailures > 5"
_TOKEN = re.compile(
    r"\s*(?:(?P<double>\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)"
    r"|(?P<int>0[xX][0-9a-fA-F]+|\d+)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>&&|\|\||<=|>=|==|!=|[-+*/%<>!?:()\[\],]))"
)
_INT64 = 1 << 63
_EVALUATION_ERRORS = (ArithmeticError, ValueError)
_MAX_DEPTH = 60
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class TripError(ValueError):
    """The expression cannot be used."""


def compile_trip(text: str) -> Trip:
    """Compile an expression. Raises ``TripError``; an evaluation that fails does not trip."""
    kind, evaluate = _Parser(text).parse()
    if kind != "bool":
        raise TripError(f'invalid trip expression "{text}": expected a bool, got {kind}')

    def trip(counters: Counters) -> bool:
        try:
            return bool(evaluate(counters))
        except _EVALUATION_ERRORS:
            return False

    return trip


class _Parser:
    """Recursive descent, one method per level of precedence."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._scan()
        self._next = 0
        self._depth = 0

    def _scan(self) -> list[tuple[str, str]]:
        tokens: list[tuple[str, str]] = []
        text, position = self._text.rstrip(), 0
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                raise self._error(f'unexpected "{text[position:].strip()[:10]}"')
            tokens.append((found.lastgroup or "", found[found.lastgroup or 0]))
            position = found.end()
        return tokens

    def _error(self, reason: str) -> TripError:
        return TripError(f'invalid trip expression "{self._text}": {reason}')

    def parse(self) -> _Typed:
        result = self._ternary()
        if self._next < len(self._tokens):
            raise self._error(f'unexpected "{self._tokens[self._next][1]}"')
        return result

    def _accept(self, *wanted: str) -> str | None:
        if self._next < len(self._tokens):
            kind, text = self._tokens[self._next]
            if text in wanted and kind in ("sign", "name"):
                self._next += 1
                return text
        return None

    def _expect(self, wanted: str) -> None:
        if self._accept(wanted) is None:
            raise self._error(f'expected "{wanted}"')

    def _need(self, what: _Typed, wanted: Type) -> _Evaluate:
        if what[0] != wanted:
            raise self._error(f"expected a {wanted}, got {what[0]}")
        return what[1]

    def _ternary(self) -> _Typed:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error("nested too deeply")
        condition = self._or()
        if self._accept("?"):
            test = self._need(condition, "bool")
            kind, yes = self._or()
            self._expect(":")
            no = self._need(self._ternary(), kind)
            condition = kind, lambda c: yes(c) if test(c) else no(c)
        self._depth -= 1
        return condition

    def _or(self) -> _Typed:
        return self._logical("||", self._and, True)

    def _and(self) -> _Typed:
        return self._logical("&&", self._relation, False)

    def _logical(self, sign: str, operand: Callable[[], _Typed], decides: bool) -> _Typed:
        left = operand()
        while self._accept(sign):
            first = self._need(left, "bool")
            second = self._need(operand(), "bool")
            left = "bool", _either(first, second, decides)
        return left

    def _relation(self) -> _Typed:
        left = self._sum()
        while sign := self._accept(*_COMPARISONS, "in"):
            left = self._in(left) if sign == "in" else self._compare(left, sign)
        return left

    def _compare(self, left: _Typed, sign: str) -> _Typed:
        right = self._sum()
        if (left[0] == "bool") != (right[0] == "bool"):
            raise self._error(f"cannot compare {left[0]} with {right[0]}")
        compare, first, second = _COMPARISONS[sign], left[1], right[1]
        return "bool", lambda c: compare(first(c), second(c))

    def _in(self, left: _Typed) -> _Typed:
        self._expect("[")
        items: list[_Evaluate] = []
        while not self._accept("]"):
            items.append(self._need(self._ternary(), left[0]))
            if not self._accept(","):
                self._expect("]")
                break
        value = left[1]
        return "bool", lambda c: value(c) in [item(c) for item in items]

    def _sum(self) -> _Typed:
        return self._arithmetic(("+", "-"), self._product)

    def _product(self) -> _Typed:
        return self._arithmetic(("*", "/", "%"), self._unary)

    def _arithmetic(self, signs: tuple[str, ...], operand: Callable[[], _Typed]) -> _Typed:
        left = operand()
        while sign := self._accept(*signs):
            right = operand()
            if left[0] != right[0] or left[0] == "bool" or (sign == "%" and left[0] == "double"):
                raise self._error(f'cannot apply "{sign}" to {left[0]} and {right[0]}')
            left = left[0], _calculation(sign, left, right)
        return left

    def _unary(self) -> _Typed:
        negations = 0
        sign = self._accept("!", "-")
        while sign is not None and self._accept(sign):
            negations += 1
        if sign is None:
            return self._primary()
        kind, value = self._primary()
        if (sign == "!") != (kind == "bool"):
            raise self._error(f'cannot apply "{sign}" to {kind}')
        if negations % 2:
            return kind, value
        if sign == "!":
            return kind, lambda c: not value(c)
        return kind, lambda c: -value(c)

    def _primary(self) -> _Typed:
        if self._accept("("):
            inner = self._ternary()
            self._expect(")")
            return inner
        if self._next == len(self._tokens):
            raise self._error("it ends too early")
        group, text = self._tokens[self._next]
        self._next += 1
        if group == "double":
            return "double", _constant(float(text))
        if group == "int":
            return "int", _constant(self._integer(text))
        return self._named(text)

    def _integer(self, text: str) -> int:
        number = int(text, 16 if text[:2] in ("0x", "0X") else 10)
        if number >= _INT64:
            raise self._error(f"{text} is out of range")
        return number

    def _named(self, name: str) -> _Typed:
        if name in ("true", "false"):
            return "bool", _constant(name == "true")
        if name in VARIABLES:
            return "int", operator.itemgetter(name)
        if name in ("int", "double") and self._accept("("):
            kind, value = self._ternary()
            self._expect(")")
            if kind == "bool":
                raise self._error(f"cannot convert a bool to {name}")
            if name == "int":
                return "int", lambda c: _in_range(int(value(c)))
            return "double", lambda c: float(value(c))
        raise self._error(f'unknown name "{name}": expected one of {", ".join(VARIABLES)}')


def _constant(value: object) -> _Evaluate:
    return lambda _counters: value


def _either(first: _Evaluate, second: _Evaluate, decides: bool) -> _Evaluate:
    """CEL's ``||`` and ``&&``: a side that decides wins over an error on the other."""

    def evaluate(counters: Counters) -> bool:
        try:
            if bool(first(counters)) is decides:
                return decides
        except _EVALUATION_ERRORS:
            if bool(second(counters)) is decides:
                return decides
            raise
        return bool(second(counters))

    return evaluate


def _calculation(sign: str, left: _Typed, right: _Typed) -> _Evaluate:
    first, second = left[1], right[1]
    if left[0] == "double":
        calculate = _DOUBLE[sign]
        return lambda c: calculate(first(c), second(c))
    whole = _INT[sign]
    return lambda c: _in_range(whole(first(c), second(c)))


def _in_range(number: int) -> int:
    if not -_INT64 <= number < _INT64:
        raise OverflowError("integer overflow")
    return number


def _divide(left: int, right: int) -> int:
    """Rounds towards zero, as Go does."""
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _divide_double(left: float, right: float) -> float:
    if right:
        return left / right
    return float("nan") if not left else float("inf") if left > 0 else float("-inf")


_INT: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": lambda left, right: left - right * _divide(left, right),
}
_DOUBLE: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide_double,
}
