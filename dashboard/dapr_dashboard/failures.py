"""What goes wrong while an answer is made, told to who asked: pages and API each in their way."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from dapr_common.observe.logs import get_logger
from dapr_dashboard.model import SourceError

_LOG = get_logger("dapr.dashboard")
Failed = Callable[[web.Request, str, str, int], web.Response]
"""Of a request a title, a text and a status -> the answer."""


def failures(failed: Failed) -> Middleware:
    """A middleware of aiohttp."""

    @web.middleware
    async def told(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except SourceError as error:
            return failed(request, "Facts are missing", str(error), 502)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            answer = failed(request, error.reason, _text(error), error.status)
            if allowed := error.headers.get("Allow"):
                answer.headers["Allow"] = allowed
            return answer
        except Exception:  # noqa: BLE001 - the boundary: one answer fails, not the dashboard
            _LOG.exception("No answer to %s can be made", request.rel_url.raw_path)
            said = "The answer could not be made; the dashboard's log says why."
            return failed(request, "Internal error", said, 500)

    return told


def _text(error: web.HTTPException) -> str:
    if isinstance(error, web.HTTPMethodNotAllowed):
        return f"The dashboard only reads: {error.method} is not answered."
    if isinstance(error, web.HTTPNotFound) and error.text == "404: Not Found":
        return "There is nothing at this path."
    return error.text or error.reason
