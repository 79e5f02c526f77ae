"""HTTP routes of the configuration API."""

from __future__ import annotations

from dapr_common.errors import DaprError
from dapr_common.http.messages import Request, Response
from dapr_sidecar.api.http.responses import empty, json_response, metadata_params, query_params
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.configuration import ConfigurationBlock
from dapr_sidecar.blocks.configuration_app import AppUpdates, item_json


def routes(block: ConfigurationBlock) -> list[Route]:
    """The routes of the configuration API, stable and alpha."""

    async def get(request: Request, store: str) -> Response:
        found = await block.get(store, _keys(request), metadata_params(request))
        if not found:
            return empty()
        return json_response({key: item_json(item) for key, item in sorted(found.items())})

    async def subscribe(request: Request, store: str) -> Response:
        block.require(store)
        updates = AppUpdates(block.context, store)
        found = await block.subscribe(store, _keys(request), metadata_params(request), updates)
        return json_response({"id": found})

    async def unsubscribe(request: Request, store: str, subscription_id: str) -> Response:
        try:
            await block.unsubscribe(store, subscription_id)
        except DaprError as error:
            if error.code != "ERR_CONFIGURATION_UNSUBSCRIBE":
                raise
            return json_response({"message": error.message}, 500)  # Dapr sends no code here
        return json_response({"ok": True})

    found: list[Route] = []
    for version, group in (("v1.0", "v1/"), ("v1.0-alpha1", "v1alpha1/")):
        root, group = f"/{version}/configuration/{{store}}", group + "configuration"
        found += [
            Route(("GET",), root, group, "GetConfiguration", get),
            Route(("GET",), f"{root}/subscribe", group, "SubscribeConfiguration", subscribe),
            Route(
                ("GET",),
                f"{root}/{{id}}/unsubscribe",
                group,
                "UnsubscribeConfiguration",
                unsubscribe,
            ),
        ]
    return found


def _keys(request: Request) -> list[str]:
    return query_params(request).get("key", [])
