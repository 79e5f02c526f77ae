"""``middleware.http.opa``: a Rego policy decides which requests go on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from dapr_common.http.headers import canonical, safe_value
from dapr_common.http.messages import (
    BodyIncompleteError,
    BodyTooLargeError,
    Handler,
    Header,
    Request,
    Response,
)
from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.middleware.answers import decoded_path, put_headers, text_answer
from dapr_sidecar.components.middleware.base import HttpMiddleware
from dapr_sidecar.components.middleware.rego import Policy, PolicyError

_LOG = get_logger("dapr.contrib")
_SLOW_SECONDS = 0.05
_NAME = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


def _status(text: str) -> int:
    if not text.strip().isdecimal() or not 200 <= int(text) <= 599:
        raise ValueError("expected a status from 200 to 599")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaSettings:
    """Settings of the middleware."""

    rego: str = setting("rego", help="the policy: package `http` with a rule `allow`")
    status: int = setting(
        "defaultStatus", default=403, parse=_status, help="status of the answer to a denied request"
    )
    headers: tuple[str, ...] = setting(
        "includedHeaders", default=(), help="headers that the policy sees; none unless named"
    )
    read_body: bool = setting(
        "readBody", default=False, help="whether the policy sees the request's body"
    )


class OpaMiddleware(HttpMiddleware):
    """What the policy does not allow, or cannot decide, is answered here.

    The policy's `allow` is a boolean, or an object with `allow`, `status_code` and
    `additional_headers`: for an allowed request these go on with it, else they are the answer's.
    """

    settings = OpaSettings

    def __init__(self, settings: OpaSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._options = settings
        self._included = frozenset(name.lower().encode() for name in settings.headers)
        self._policy: Policy | None = None

    async def open(self) -> None:
        """Load the policy."""
        try:
            self._policy = Policy(self._options.rego)
        except PolicyError as error:
            raise ValueError(f"invalid metadata field 'rego': {error}") from error

    def wrap(self, following: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            try:
                given = await self._input(request)
            except BodyTooLargeError as error:
                return text_answer(413, str(error))
            except (BodyIncompleteError, ValueError) as error:
                return text_answer(400, str(error))
            decision = self._decide(given)
            headers = _headers(decision.get("additional_headers"))
            if decision.get("allow") is not True:
                return self._denied(decision.get("status_code"), headers)
            put_headers(request, [(name.lower(), value) for name, value in headers])
            return await following(request)

        return handle

    async def _input(self, request: Request) -> dict[str, Any]:
        """What the policy sees. Raises ``ValueError`` and the body's errors."""
        path = _text(decoded_path(request).encode("utf-8", "surrogateescape"))
        query = request.query.decode("latin-1")
        seen: dict[str, Any] = {
            "method": request.method,
            "path": path,
            "path_parts": path.strip("/").split("/"),
            "raw_query": query,
            "query": parse_qs(query, keep_blank_values=True, errors="replace"),
            "headers": self._seen_headers(request),
            "scheme": "http",
            "body": _text(await request.read()) if self._options.read_body else "",
        }
        return {"request": seen}

    def _seen_headers(self, request: Request) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in request.headers:
            if name in self._included:
                shown, text = canonical(name).decode(), _text(value)
                found[shown] = f"{found[shown]}, {text}" if shown in found else text
        return found

    def _decide(self, given: dict[str, Any]) -> Mapping[str, Any]:
        assert self._policy is not None, "open() comes first"
        started = time.perf_counter()
        try:
            value = self._policy.allow(given)
        except PolicyError as error:
            _LOG.warning("%s denies a request, its policy failed: %s", self._context.name, error)
            return {}
        took = time.perf_counter() - started
        if took > _SLOW_SECONDS:
            _LOG.warning(
                "%s: the policy took %d ms, and every other request waited",
                self._context.name,
                took * 1000,
            )
        return value if isinstance(value, dict) else {"allow": value}

    def _denied(self, status: object, headers: list[Header]) -> Response:
        given = isinstance(status, int | float) and not isinstance(status, bool)
        chosen = int(status) if given and 200 <= status <= 599 else self._options.status  # type: ignore[operator,call-overload]
        phrase = HTTPStatus(chosen).phrase if chosen in set(HTTPStatus) else "Denied"
        return text_answer(chosen, phrase, headers)


def _headers(given: object) -> list[Header]:
    """Headers as a policy names them; a list is a header several times."""
    found: list[Header] = []
    if not isinstance(given, dict):
        return found
    for name, value in given.items():
        if not isinstance(name, str) or not name or not _NAME.issuperset(name.lower()):
            continue
        for one in value if isinstance(value, list) else [value]:
            text = str(one).lower() if isinstance(one, bool) else str(one)
            found.append((name.encode(), safe_value(text.encode())))
    return found


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
