"""The JSON API of Dapr's dashboard, as far as it reads, beside the pages and of the same facts."""

from dapr_dashboard.api.errors import failed, is_api
from dapr_dashboard.api.routes import routes
from dapr_dashboard.api.streams import Streams

__all__ = ["Streams", "failed", "is_api", "routes"]
