"""``middleware.http.uppercase``: bodies in upper case; for trying pipelines out."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Literal

from dapr_common.http.messages import BodyTooLargeError, Handler, Request, Response
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.middleware.base import HttpMiddleware

Direction = Literal["request", "response", "both"]
_DIRECTIONS = ("request", "response", "both")


def _direction(text: str) -> str:
    if text.lower() not in _DIRECTIONS:
        raise ValueError(f"expected one of {', '.join(_DIRECTIONS)}")
    return text.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class UppercaseSettings:
    """Settings of the middleware."""

    direction: str = setting(
        "direction", default="request", parse=_direction, help="request, response or both"
    )


class UppercaseMiddleware(HttpMiddleware):
    """Changes the request's body, the response's, or both."""

    settings = UppercaseSettings

    def __init__(self, settings: UppercaseSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._requests = settings.direction in ("request", "both")
        self._responses = settings.direction in ("response", "both")

    def wrap(self, following: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            if self._requests:
                # A body over the limit fails in the handler again, worded for its API.
                with contextlib.suppress(BodyTooLargeError):
                    request.body = (await request.read()).upper()
            response = await following(request)
            if self._responses:
                if not isinstance(response.body, bytes):
                    response.body = b"".join([chunk async for chunk in response.body])
                response.body = response.body.upper()
            return response

        return handle
