"""AdmissionReview, versions v1 and v1beta1: the request as read, the response as written."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from dapr_common.kube.kinds import KubeObject
from dapr_injector.callers import UserInfo

_KIND = "AdmissionReview"
_VERSIONS = ("admission.k8s.io/v1", "admission.k8s.io/v1beta1")
_LONGEST_WARNING = 256
_MOST_WARNINGS = 16
"""The API server passes on 4096 characters in all."""


class ReviewError(ValueError):
    """A body is no AdmissionReview."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One request for admission. ``object`` is as the API server sent it."""

    api_version: str
    uid: str
    kind: str
    namespace: str
    user: UserInfo
    object: Any

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
        return cls(
            api_version=version,
            uid=str(request.get("uid") or ""),
            kind=str(_part(request, "kind").get("kind") or ""),
            namespace=str(request.get("namespace") or ""),
            user=_user(_part(request, "userInfo")),
            object=request.get("object"),
        )

    def allow(self, warnings: Sequence[str] = (), patch: Sequence[KubeObject] = ()) -> bytes:
        """The response that lets the object pass, changed by a patch if there is one."""
        response: KubeObject = {"uid": self.uid, "allowed": True}
        if patch:
            response["patchType"] = "JSONPatch"
            response["patch"] = base64.b64encode(orjson.dumps(patch)).decode()
        return _respond(self.api_version, response, warnings)

    def reject(self, message: str, warnings: Sequence[str] = ()) -> bytes:
        """The response that stops the object."""
        response = {"uid": self.uid, "allowed": False, "status": {"message": message}}
        return _respond(self.api_version, response, warnings)


def reject_unreadable(message: str) -> bytes:
    """The response to a body that is no AdmissionReview."""
    return _respond(_VERSIONS[0], {"uid": "", "allowed": False, "status": {"message": message}}, ())


def _part(request: KubeObject, key: str) -> KubeObject:
    value = request.get(key) or {}
    if not isinstance(value, dict):
        raise ReviewError(f"{key} of the request is malformed: expected an object")
    return value


def _user(info: KubeObject) -> UserInfo:
    groups = info.get("groups") or []
    if not isinstance(groups, list):
        raise ReviewError("groups of the request are malformed: expected a list")
    return UserInfo(
        username=str(info.get("username") or ""),
        uid=str(info.get("uid") or ""),
        groups=tuple(map(str, groups)),
    )


def _respond(api_version: str, response: KubeObject, warnings: Sequence[str]) -> bytes:
    if warnings:
        response["warnings"] = [_cut(text) for text in warnings[:_MOST_WARNINGS]]
    return orjson.dumps({"apiVersion": api_version, "kind": _KIND, "response": response})


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_WARNING else f"{text[: _LONGEST_WARNING - 3]}..."
