"""Fields → OpenAPI v3 schemas, structural as Kubernetes wants them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from dapr_common.kube.schema.fields import Field

_ANY_TYPE = "any"


def schema(field: Field) -> dict[str, Any]:
    """The structural schema of a field and all below it."""
    found: dict[str, Any] = {}
    if field.description:
        found["description"] = field.description
    if field.type != _ANY_TYPE:
        found["type"] = field.type
    found |= _limits(field)
    if field.fields:
        found["properties"] = {name: schema(below) for name, below in field.fields.items()}
    if needed := [name for name, below in field.fields.items() if below.is_required]:
        found["required"] = needed
    if field.values is not None:
        found["additionalProperties"] = schema(field.values)
    if field.items is not None:
        found["items"] = schema(field.items)
    return found | _extensions(field)


def _limits(field: Field) -> dict[str, Any]:
    limits = {
        "format": field.format,
        "enum": list(field.enum),
        "minLength": field.min_length,
        "minItems": field.min_items,
    }
    found = {name: limit for name, limit in limits.items() if limit}
    if field.default is not None:
        found["default"] = deepcopy(field.default)
    return found


def _extensions(field: Field) -> dict[str, Any]:
    """What JSON Schema has no word for."""
    found: dict[str, Any] = {}
    if field.keeps_unknown:
        found["x-kubernetes-preserve-unknown-fields"] = True
    if field.is_set:
        found["x-kubernetes-list-type"] = "set"
    if field.merge_keys:
        found["x-kubernetes-list-type"] = "map"
        found["x-kubernetes-list-map-keys"] = list(field.merge_keys)
    if field.rules:
        found["x-kubernetes-validations"] = [
            {"rule": each.rule, "message": each.message} for each in field.rules
        ]
    return found
