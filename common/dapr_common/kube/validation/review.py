"""Validating admission: an AdmissionReview goes in, the one to answer with comes out. Pure.

Hosting it is one route: ``POST`` the body to ``answer`` and send back what it returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from dapr_common.kube.kinds import KubeObject
from dapr_common.kube.validation.objects import validate
from dapr_common.kube.validation.problems import Problem
from dapr_common.kube.validation.resiliency import Known

SWITCH = "dapr.io/validation"
"""Annotation of an object: with ``warn`` what is wrong with it is told, and it is let in."""
_KIND = "AdmissionReview"
_VERSIONS = ("admission.k8s.io/v1", "admission.k8s.io/v1beta1")
_MATTERS = ("spec", "scopes", "auth")
_LONGEST_WARNING, _MOST_WARNINGS = 250, 12
_MOST_CAUSES = 20


class ReviewError(ValueError):
    """A body is no AdmissionReview; a webhook answers with status 400."""


def answer(body: bytes, policies_elsewhere: Known | None = None) -> bytes:
    """The answer to a request. Raises ``ReviewError``."""
    review = _read(body)
    request = review["request"]
    response: KubeObject = {"uid": str(request.get("uid") or ""), "allowed": True}
    response |= _decide(request, policies_elsewhere)
    return orjson.dumps({"apiVersion": review["apiVersion"], "kind": _KIND, "response": response})


def _read(body: bytes) -> Mapping[str, Any]:
    try:
        review = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ReviewError(f"the body is not JSON: {error}") from error
    if not isinstance(review, dict) or review.get("kind") != _KIND:
        raise ReviewError(f"the body is no {_KIND}")
    if review.get("apiVersion") not in _VERSIONS:
        raise ReviewError(f"apiVersion of the {_KIND} is unknown: use {_VERSIONS[0]}")
    if not isinstance(review.get("request"), dict):
        raise ReviewError(f"the {_KIND} has no request")
    return review


def _decide(request: Mapping[str, Any], policies_elsewhere: Known | None) -> KubeObject:
    """What makes a response different from a plain yes."""
    found, before = request.get("object"), request.get("oldObject")
    if not isinstance(found, dict) or request.get("operation") == "DELETE":
        return {}
    if isinstance(before, dict) and _is_same(before, found):
        return {}  # somebody's labels, a status, the last finalizer: not what is wrong with it
    problems = validate(found, policies_elsewhere)
    errors = [problem for problem in problems if problem.severity == "error"]
    if _is_let_in(found):
        return _warnings(problems)
    warnings = _warnings([problem for problem in problems if problem.severity == "warning"])
    return warnings | (_refusal(found, errors) if errors else {})


def _is_same(before: KubeObject, after: KubeObject) -> bool:
    names = ("apiVersion", *_MATTERS)
    return all(before.get(name) == after.get(name) for name in names)


def _is_let_in(body: KubeObject) -> bool:
    metadata = body.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return isinstance(annotations, dict) and annotations.get(SWITCH) == "warn"


def _warnings(problems: Sequence[Problem]) -> KubeObject:
    texts = [str(problem)[:_LONGEST_WARNING] for problem in problems[:_MOST_WARNINGS]]
    return {"warnings": texts} if texts else {}


def _refusal(body: KubeObject, errors: Sequence[Problem]) -> KubeObject:
    metadata = body.get("metadata")
    name = str(metadata.get("name") or "") if isinstance(metadata, dict) else ""
    kind = str(body.get("kind"))
    causes = [
        {"reason": "FieldValueInvalid", "field": error.path, "message": error.message}
        for error in errors[:_MOST_CAUSES]
    ]
    text = "; ".join(map(str, errors[:_MOST_CAUSES]))
    return {
        "allowed": False,
        "status": {
            "status": "Failure",
            "code": 422,
            "reason": "Invalid",
            "message": f"{kind} {name} cannot be used by a sidecar: {text}",
            "details": {"name": name, "group": "dapr.io", "kind": kind, "causes": causes},
        },
    }
