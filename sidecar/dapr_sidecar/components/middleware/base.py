"""HTTP middleware components, for the API's and the app channel's pipelines."""

from __future__ import annotations

from abc import abstractmethod

from dapr_common.http.messages import Handler
from dapr_sidecar.components.base import Component


class HttpMiddleware(Component):
    """Wraps a handler; called once per pipeline build, not per request."""

    @abstractmethod
    def wrap(self, following: Handler) -> Handler: ...
