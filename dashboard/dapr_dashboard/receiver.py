"""Takes spans as Zipkin does: ``POST /api/v2/spans``, JSON, on a port of its own."""

from __future__ import annotations

import json

from aiohttp import web

from dapr_dashboard.guard import Guard
from dapr_dashboard.traces import Traces

_MOST_BYTES = 5 << 20


def receiver(traces: Traces) -> web.Application:
    """The application; what it takes goes into ``traces``."""

    async def spans(request: web.Request) -> web.Response:
        # A page of another site may send text, but JSON only after asking, which is not answered.
        if request.content_type != "application/json":
            return web.Response(status=415, text="expected Content-Type application/json\n")
        try:
            body = json.loads(await request.read())
            if not isinstance(body, list):
                raise ValueError("expected a list of spans")
            traces.add(body)
        except (ValueError, RecursionError) as error:
            return web.Response(status=400, text=f"the spans cannot be read: {error}\n")
        return web.Response(status=202)

    app = web.Application(middlewares=[Guard().middleware()], client_max_size=_MOST_BYTES)
    app.router.add_post("/api/v2/spans", spans)
    return app
