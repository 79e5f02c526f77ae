"""HTTP routes of health, metadata and shutdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dapr_common import RUNTIME_VERSION
from dapr_common.errors import DaprError
from dapr_common.http.held_bodies import HeldBodies, TooMuchHeldError
from dapr_common.http.messages import BodyIncompleteError, BodyTooLargeError, Request, Response
from dapr_common.kube.resources import Subscription
from dapr_common.observe.health import Readiness
from dapr_sidecar.api.http.bodies import body_unread
from dapr_sidecar.api.http.responses import empty, first_param, json_response
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.component_health import ComponentState, failing
from dapr_sidecar.blocks.metadata import ActorStatus, AppConnection, MetadataBlock, SidecarMetadata

Shutdown = Callable[[bool], None]
"""Called with whether the stop is forced."""

_MOST_ARRIVING = 16 << 20
"""Of all values that are being sent: the public port takes them from anybody."""


class MetadataRoutes:
    """Handlers of the sidecar's own endpoints."""

    def __init__(
        self, block: MetadataBlock, health: Readiness, outbound: Readiness, shutdown: Shutdown
    ) -> None:
        self._block = block
        self._health = health
        self._outbound = outbound
        self._shutdown = shutdown
        self._bodies = HeldBodies(_MOST_ARRIVING)

    def public(self) -> list[Route]:
        """What the public port serves as well."""
        return [
            Route(
                ("GET",),
                "/v1.0/healthz",
                "v1/healthz",
                "Healthz",
                self._healthz,
                always_allowed=True,
                health=True,
            ),
            Route(
                ("GET",),
                "/v1.0/healthz/outbound",
                "v1/healthz",
                "HealthzOutbound",
                self._healthz_outbound,
                always_allowed=True,
                health=True,
            ),
            Route(("GET",), "/v1.0/metadata", "v1/metadata", "GetMetadata", self._get),
            Route(("PUT",), "/v1.0/metadata/{key}", "v1/metadata", "PutMetadata", self._set),
        ]

    def all(self) -> list[Route]:
        """What the API port serves."""
        shutdown = Route(("POST",), "/v1.0/shutdown", "v1/shutdown", "Shutdown", self._stop)
        return [*self.public(), shutdown]

    async def _healthz(self, request: Request) -> Response:
        if name := first_param(request, "component"):
            await self._check_component(name)
            return empty()
        wanted = first_param(request, "appid")
        if not self._health.is_ready:
            targets = " ".join(self._health.missing())
            raise DaprError("ERR_HEALTH_NOT_READY", f"dapr is not ready: [{targets}]")
        if wanted and wanted != self._block.context.identity.app_id:
            raise DaprError("ERR_HEALTH_APPID_NOT_MATCH", "dapr app-id does not match")
        if first_param(request, "all") == "true":
            await self._check_component("")
        return empty()

    async def _check_component(self, name: str) -> None:
        """One component or all; the error itself is for who may read the metadata."""
        states = await self._block.health.check(name)
        if name and not states:
            raise DaprError(
                "ERR_HEALTH_COMPONENT_NOT_FOUND", f"there is no component {name}", http_status=404
            )
        if not_ready := failing(states):
            shown = ", ".join(
                f"{one.name} ({one.state} since {one.since_text})" for one in not_ready
            )
            raise DaprError(
                "ERR_HEALTH_COMPONENT_NOT_READY", f"components are not ready: [{shown}]"
            )

    async def _healthz_outbound(self, request: Request) -> Response:
        if not self._outbound.is_ready:
            raise DaprError("ERR_OUTBOUND_HEALTH_NOT_READY", "dapr outbound is not ready")
        return empty()

    async def _get(self, request: Request) -> Response:
        body = render_metadata(self._block.get())
        if first_param(request, "health") == "true":
            states = self._block.health.states()
            body["componentHealth"] = [_health(one) for one in states.values()]
        return json_response(body)

    async def _set(self, request: Request, key: str) -> Response:
        try:
            with self._bodies.counted() as read:
                self._block.set(key, (await read(request)).decode("utf-8", "replace"))
        except TooMuchHeldError as error:
            text = "too many bodies arrive at a time"
            raise DaprError("ERR_BODY_READ", text, http_status=503) from error
        except (BodyTooLargeError, BodyIncompleteError) as error:
            raise body_unread(error) from error
        return empty()

    async def _stop(self, request: Request) -> Response:
        forced = (request.header(b"dapr-force-shutdown") or b"").lower() == b"true"
        self._shutdown(forced)
        return empty()


def render_metadata(metadata: SidecarMetadata) -> dict[str, Any]:
    """The JSON body, fields in Dapr's order, empty ones left out."""
    body: dict[str, Any] = {
        "id": metadata.id,
        "runtimeVersion": RUNTIME_VERSION,
        "enabledFeatures": list(metadata.enabled_features),
        "actors": _counts(metadata.actors),
        "components": [
            _present(
                {
                    "name": c.name,
                    "type": c.type,
                    "version": c.version,
                    "capabilities": list(c.capabilities),
                }
            )
            for c in metadata.components
        ],
        "extended": metadata.extended,
        "subscriptions": [_subscription(s, kind) for s, kind in metadata.subscriptions],
        "httpEndpoints": [{"name": name} for name in metadata.http_endpoints],
        "appConnectionProperties": _connection(metadata.connection),
        "actorRuntime": _actors(metadata.actors),
        "scheduler": _present({"connected_addresses": list(metadata.schedulers)}),
        "resiliencies": [{"name": name} for name in metadata.resiliencies],
    }
    return _present(body)


def _health(one: ComponentState) -> dict[str, Any]:
    return _present(
        {"name": one.name, "state": one.state, "since": one.since_text, "lastError": one.error}
    )


def _present(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value not in ("", 0, [], {}, None)}


def _subscription(subscription: Subscription, kind: str) -> dict[str, Any]:
    rules = [_present({"match": r.match, "path": r.path}) for r in subscription.rules]
    if subscription.default_route:
        rules.append({"path": subscription.default_route})
    body = _present(
        {
            "pubsubname": subscription.pubsub_name,
            "topic": subscription.topic,
            "metadata": dict(subscription.metadata),
            "rules": rules,
        }
    )
    return {**body, "deadLetterTopic": subscription.dead_letter_topic, "type": kind}


def _connection(connection: AppConnection) -> dict[str, Any]:
    body = {
        "port": connection.port,
        "protocol": connection.protocol,
        "channelAddress": connection.channel_address,
        "maxConcurrency": connection.max_concurrency,
    }
    if connection.health is not None:
        path, interval, timeout, threshold = connection.health
        body["health"] = _present(
            {
                "healthCheckPath": path,
                "healthProbeInterval": interval,
                "healthProbeTimeout": timeout,
                "healthThreshold": threshold,
            }
        )
    return _present(body)


def _counts(actors: ActorStatus) -> list[dict[str, Any]]:
    return [_present({"type": t, "count": c}) for t, c in actors.active]


def _actors(actors: ActorStatus) -> dict[str, Any]:
    body: dict[str, Any] = {"runtimeStatus": actors.status}
    if actors.active:
        body["activeActors"] = _counts(actors)
    return {**body, "hostReady": actors.host_ready, "placement": actors.placement}
