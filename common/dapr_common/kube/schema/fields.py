"""A field of a custom resource: its type, its limits, and one line on what it is for.

The kinds are written with these; the cluster's definitions are generated from them, and whoever
checks a manifest can walk the same fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import field as member
from typing import Any, Literal

FieldType = Literal["string", "integer", "boolean", "object", "array", "any"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL expression over a field's value, and what is said when it is false."""

    rule: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. An object has ``fields`` with names of their own, or ``values`` under any name."""

    type: FieldType
    description: str = ""
    is_required: bool = False
    fields: Mapping[str, Field] = member(default_factory=dict)
    values: Field | None = None
    items: Field | None = None
    keeps_unknown: bool = False
    """What the description does not name is kept, of whatever type."""
    enum: tuple[str, ...] = ()
    format: str = ""
    min_length: int = 0
    min_items: int = 0
    is_set: bool = False
    """No item of the list twice."""
    merge_keys: tuple[str, ...] = ()
    """The fields that make one item of the list another: writers own their items."""
    default: Any = None
    rules: tuple[Rule, ...] = ()


def text(description: str = "", *, enum: tuple[str, ...] = (), min_length: int = 0) -> Field:
    """A string."""
    return Field(type="string", description=description, enum=enum, min_length=min_length)


def moment(description: str) -> Field:
    """A date with its time, as RFC 3339 writes them."""
    return Field(type="string", description=description, format="date-time")


def integer(description: str, *, bits: int = 0) -> Field:
    """A whole number, of so many bits when given."""
    return Field(type="integer", description=description, format=f"int{bits}" if bits else "")


def boolean(description: str) -> Field:
    """True or false."""
    return Field(type="boolean", description=description)


def anything(description: str) -> Field:
    """A value of any type, kept as it is."""
    return Field(type="any", description=description, keeps_unknown=True)


def open_record(description: str) -> Field:
    """An object whose content somebody else describes."""
    return Field(type="object", description=description, keeps_unknown=True)


def record(description: str, /, **fields: Field) -> Field:
    """An object with these fields; the names are those of the manifest."""
    return Field(type="object", description=description, fields=fields)


def mapping(description: str, values: Field) -> Field:
    """An object with any names and one kind of value."""
    return Field(type="object", description=description, values=values)


def sequence(description: str, items: Field, *, min_items: int = 0) -> Field:
    """A list."""
    return Field(type="array", description=description, items=items, min_items=min_items)


def texts(description: str) -> Field:
    """A list of strings."""
    return sequence(description, text())


def required(field: Field) -> Field:
    """The same field, which must be there when the object around it is."""
    return replace(field, is_required=True)
