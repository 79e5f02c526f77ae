"""``middleware.http.routerchecker``: requests whose path breaks a rule are turned away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dapr_common.http.messages import Handler, Request, Response
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.middleware.answers import decoded_path, text_answer
from dapr_sidecar.components.middleware.base import HttpMiddleware
from dapr_sidecar.components.middleware.patterns import compile_pattern, matches


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterCheckerSettings:
    """Settings of the middleware."""

    rule: str = setting("rule", help="regular expression in Go's syntax; good paths have a match")


class RouterCheckerMiddleware(HttpMiddleware):
    """A path without a match is answered with 400."""

    settings = RouterCheckerSettings

    def __init__(self, settings: RouterCheckerSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._rule = settings.rule
        self._pattern: Any = None

    async def open(self) -> None:
        """Read the rule."""
        self._pattern = compile_pattern("rule", self._rule)

    def wrap(self, following: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            try:
                good = matches(self._pattern, decoded_path(request))
            except ValueError:
                good = False
            return await following(request) if good else text_answer(400, "Bad Request")

        return handle
