"""What the Kubernetes API refuses, and why; one class for each reason callers act on."""

from __future__ import annotations

from typing import Any

import orjson

_SHOWN = 300


class KubeError(Exception):
    """The Kubernetes API cannot be used; the text says what was asked and why it failed."""


class LoginError(KubeError):
    """There is no usable way into a cluster: which file or variable is wrong, and how."""


class UnreachableError(KubeError):
    """The API server did not answer, or not in time."""


class ApiError(KubeError):
    """The API server answered with a failure. ``reason`` is its word, such as ``NotFound``."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class UnauthorizedError(ApiError):
    """The credentials are not known to the cluster."""


class ForbiddenError(ApiError):
    """The account may not do this: a rule of RBAC is missing."""


class NotFoundError(ApiError):
    """There is no such object, or no such kind."""


class ConflictError(ApiError):
    """The object has changed since it was read."""


class AlreadyExistsError(ConflictError):
    """There is an object of that name."""


class ExpiredError(ApiError):
    """The resource version is too old to go on from: list again."""


_BY_STATUS: dict[int, type[ApiError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ExpiredError,
}


def api_error(status: int, raw: bytes, what: str) -> ApiError:
    """The error for an answer's status and body; ``what`` was asked for."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict) and body.get("kind") == "Status":
        return status_error(body, what, status)
    text = " ".join(raw[:_SHOWN].decode("utf-8", "replace").split())
    return _BY_STATUS.get(status, ApiError)(status, "", f"{what}: status {status}: {text}")


def status_error(body: dict[str, Any], what: str, status: int = 0) -> ApiError:
    """The error that a ``Status`` object says."""
    code = int(body.get("code") or status)
    reason = str(body.get("reason") or "")
    kind = _BY_STATUS.get(code, ApiError)
    if reason == "AlreadyExists":
        kind = AlreadyExistsError
    message = str(body.get("message") or reason or f"status {code}")
    return kind(code, reason, f"{what}: {message}")
