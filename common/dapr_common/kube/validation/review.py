"""Validating admission: an AdmissionReview goes in, the one to answer with comes out. Pure.

Hosting it is one route: ``POST`` the body to ``answer`` and send back what it returns; or, with
policies of other resources at hand, the steps that ``answer`` is made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Review:
    """A request for admission: ``response`` decides, ``written`` is what to answer with."""

    api_version: str
    request: Mapping[str, Any]

    @classmethod
    def read(cls, body: bytes) -> Review:
        """Raises ``ReviewError``."""
        try:
            review = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ReviewError(f"the body is not JSON: {error}") from error
        if not isinstance(review, dict) or review.get("kind") != _KIND:
            raise ReviewError(f"the body is no {_KIND}")
        if (version := review.get("apiVersion")) not in _VERSIONS:
            raise ReviewError(f"apiVersion of the {_KIND} is unknown: use {_VERSIONS[0]}")
        if not isinstance(request := review.get("request"), dict):
            raise ReviewError(f"the {_KIND} has no request")
        return cls(version, request)

    @property
    def resiliency(self) -> tuple[str, str] | None:
        """Namespace and name of a Resiliency, whose policies may be elsewhere; else ``None``."""
        found = self.request.get("object")
        if not isinstance(found, dict) or found.get("kind") != "Resiliency":
            return None
        return str(self.request.get("namespace") or ""), _name(found)

    def response(self, policies_elsewhere: Known | None = None) -> KubeObject:
        """``policies_elsewhere``: see ``check_resiliency``."""
        response: KubeObject = {"uid": str(self.request.get("uid") or ""), "allowed": True}
        return response | _decide(self.request, policies_elsewhere)

    def written(self, response: KubeObject) -> bytes:
        """An AdmissionReview with a response."""
        body = {"apiVersion": self.api_version, "kind": _KIND, "response": response}
        return orjson.dumps(body)


def answer(body: bytes) -> bytes:
    """The answer to a request, by what the object itself says. Raises ``ReviewError``."""
    review = Review.read(body)
    return review.written(review.response())


def refused_for(response: KubeObject) -> tuple[str, str] | None:
    """Kind and reason of a refusal, by the first of its causes; ``None`` when it is none."""
    if response["allowed"]:
        return None
    details = response["status"]["details"]
    return details["kind"], details["causes"][0]["reason"]


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
    name, kind = _name(body), str(body.get("kind"))
    causes = [
        {"reason": error.reason, "field": error.path, "message": error.message}
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


def _name(body: KubeObject) -> str:
    metadata = body.get("metadata")
    return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""
