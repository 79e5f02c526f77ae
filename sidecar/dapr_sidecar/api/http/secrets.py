"""HTTP routes of the secrets API."""

from __future__ import annotations

from dapr_common.http.messages import Request, Response
from dapr_sidecar.api.http.responses import empty, json_response, metadata_params
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.secrets import SecretsBlock

_GROUP = "v1/secrets"


def routes(block: SecretsBlock) -> list[Route]:
    """The routes of the secrets API."""

    async def get(request: Request, store: str, key: str) -> Response:
        found = await block.get(store, key, metadata_params(request))
        return empty() if found is None else json_response(dict(sorted(found.items())))

    async def bulk_get(request: Request, store: str) -> Response:
        found = await block.bulk_get(store, metadata_params(request))
        if found is None:
            return empty()
        return json_response(
            {name: dict(sorted(values.items())) for name, values in sorted(found.items())}
        )

    return [
        Route(("GET",), "/v1.0/secrets/{store}/bulk", _GROUP, "GetBulkSecret", bulk_get),
        Route(("GET",), "/v1.0/secrets/{store}/{key}", _GROUP, "GetSecret", get),
    ]
