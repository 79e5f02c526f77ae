"""The HTTP API's route table: one dictionary walk per request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dapr_common.http.messages import Request, Response

RouteHandler = Callable[..., Awaitable[Response]]
"""``await handler(request, *params)``: path parameters, decoded, in the pattern's order."""


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table.

    ``pattern`` is ``/v1.0/state/{store}/{key}``; a last ``{name...}`` takes the rest of the path.
    ``group`` is the allow-list key such as ``v1/state``; ``name`` the endpoint's name in API logs
    (``GetState``).
    """

    methods: tuple[str, ...]
    pattern: str
    group: str
    name: str
    handler: RouteHandler
    always_allowed: bool = False
    health: bool = False
