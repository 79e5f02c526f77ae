"""Middleware pipelines: from a Configuration's list of handlers to one handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dapr_common.http.messages import Handler
from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.middleware.base import HttpMiddleware

_LOG = get_logger("dapr.runtime")
Wrapper = Callable[[Handler], Handler]


def wrappers(
    section: Mapping[str, Any], live: Mapping[str, HttpMiddleware], what: str
) -> list[Wrapper]:
    """The wrappers of ``httpPipeline`` or ``appHttpPipeline``, outermost first.

    ``live`` has the loaded middleware components by name; a handler that is not there is reported
    and left out, so that the rest of the pipeline works.
    """
    found: list[Wrapper] = []
    for handler in section.get("handlers") or ():
        name = str(handler.get("name", ""))
        component = live.get(name)
        if component is None:
            _LOG.error(
                "%s: couldn't find middleware component with name '%s' and type %s; it is left out",
                what,
                name,
                handler.get("type", ""),
            )
            continue
        found.append(component.wrap)
    return found


def wrapped(handler: Handler, around: Sequence[Wrapper]) -> Handler:
    """A handler inside its middlewares, the first one outermost."""
    for wrapper in reversed(around):
        handler = wrapper(handler)
    return handler
