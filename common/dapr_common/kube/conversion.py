"""Conversion of Subscriptions between their versions: a ConversionReview in, its answer out. Pure.

v1alpha1 has one route, v2alpha1 rules and a default one. Rules do not get lost on the way down:
they travel in an annotation and are back in place on the way up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from dapr_common.kube.kinds import KubeObject

RULES = "dapr.io/subscription-rules"
"""Annotation of a v1alpha1 object: the rules it has as v2alpha1, as JSON."""
_V1, _V2 = "dapr.io/v1alpha1", "dapr.io/v2alpha1"
_REVIEW, _REVIEW_VERSION = "ConversionReview", "apiextensions.k8s.io/v1"


class ConversionError(ValueError):
    """Something cannot be converted; the text says what."""


def answer(body: bytes) -> bytes:
    """The answer to a ConversionReview. Raises ``ConversionError`` when the body is none."""
    try:
        review = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ConversionError(f"the body is not JSON: {error}") from error
    if not isinstance(review, dict) or review.get("kind") != _REVIEW:
        raise ConversionError(f"the body is no {_REVIEW}")
    if review.get("apiVersion") != _REVIEW_VERSION:
        raise ConversionError(f"apiVersion of the {_REVIEW} is unknown: use {_REVIEW_VERSION}")
    request = review.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("objects"), list):
        raise ConversionError(f"the {_REVIEW} has no objects")
    return orjson.dumps(
        {"apiVersion": _REVIEW_VERSION, "kind": _REVIEW, "response": _response(request)}
    )


def _response(request: Mapping[str, Any]) -> KubeObject:
    response: KubeObject = {"uid": str(request.get("uid") or "")}
    wanted = str(request.get("desiredAPIVersion") or "")
    try:
        converted = [convert(found, wanted) for found in request["objects"]]
    except ConversionError as error:
        return response | {"result": {"status": "Failure", "message": str(error)}}
    return response | {"convertedObjects": converted, "result": {"status": "Success"}}


def convert(body: Any, wanted: str) -> KubeObject:
    """One object in the wanted version, made anew. Raises ``ConversionError``."""
    if not isinstance(body, dict) or body.get("kind") != "Subscription":
        raise ConversionError(f"only Subscriptions are converted, not {_kind(body)}")
    version = body.get("apiVersion")
    if version == wanted:
        return body
    if (version, wanted) == (_V2, _V1):
        return _down(body)
    if (version, wanted) == (_V1, _V2):
        return _up(body)
    raise ConversionError(f"a Subscription is not converted from {version} to {wanted}")


def _down(body: KubeObject) -> KubeObject:
    spec = dict(_mapping(body, "spec"))
    routes = _mapping(spec, "routes")
    spec.pop("routes", None)
    spec["route"] = str(routes.get("default") or "")
    annotations = _annotations(body)
    if rules := routes.get("rules"):
        annotations[RULES] = orjson.dumps(rules).decode()
    return _with(body, _V1, spec, annotations)


def _up(body: KubeObject) -> KubeObject:
    spec = dict(_mapping(body, "spec"))
    route = str(spec.pop("route", None) or "")
    rules = _rules(_mapping(_mapping(body, "metadata"), "annotations").get(RULES))
    spec["routes"] = {
        **({"rules": rules} if rules else {}),
        **({"default": route} if route else {}),
    }
    return _with(body, _V2, spec, _annotations(body))


def _annotations(body: KubeObject) -> KubeObject:
    """Those that are not ours."""
    annotations = dict(_mapping(_mapping(body, "metadata"), "annotations"))
    annotations.pop(RULES, None)
    return annotations


def _rules(text: object) -> list[Any]:
    """Those of an annotation; none when somebody has put something else there."""
    try:
        rules = orjson.loads(text) if isinstance(text, str) else []
    except orjson.JSONDecodeError:
        return []
    return rules if isinstance(rules, list) and all(map(_is_rule, rules)) else []


def _is_rule(rule: Any) -> bool:
    return isinstance(rule, dict) and all(
        isinstance(rule.get(name), str) for name in ("match", "path")
    )


def _with(body: KubeObject, version: str, spec: KubeObject, annotations: KubeObject) -> KubeObject:
    metadata = dict(_mapping(body, "metadata"))
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    return {**body, "apiVersion": version, "metadata": metadata, "spec": spec}


def _mapping(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConversionError(f"{name} of a Subscription is malformed: expected an object")
    return value


def _kind(body: Any) -> str:
    return str(body.get("kind")) if isinstance(body, dict) else "this"
