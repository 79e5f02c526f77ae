"""The building blocks of one sidecar: made together, and asked together for what they serve."""

from __future__ import annotations

import asyncio

from dapr_common.grpc.server import Method
from dapr_common.kube.resources import Component
from dapr_sidecar.api.grpc import absent as grpc_absent
from dapr_sidecar.api.grpc import bindings as grpc_bindings
from dapr_sidecar.api.grpc import configuration as grpc_configuration
from dapr_sidecar.api.grpc import crypto as grpc_crypto
from dapr_sidecar.api.grpc import lock as grpc_lock
from dapr_sidecar.api.grpc import pubsub as grpc_pubsub
from dapr_sidecar.api.grpc import secrets as grpc_secrets
from dapr_sidecar.api.grpc import state as grpc_state
from dapr_sidecar.api.http import absent as http_absent
from dapr_sidecar.api.http import bindings as http_bindings
from dapr_sidecar.api.http import configuration as http_configuration
from dapr_sidecar.api.http import crypto as http_crypto
from dapr_sidecar.api.http import lock as http_lock
from dapr_sidecar.api.http import pubsub as http_pubsub
from dapr_sidecar.api.http import secrets as http_secrets
from dapr_sidecar.api.http import state as http_state
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.absent import AbsentApis
from dapr_sidecar.blocks.actors.store import ActorStorePreparer
from dapr_sidecar.blocks.bindings.input import InputBindingSet
from dapr_sidecar.blocks.bindings.output import BindingsBlock
from dapr_sidecar.blocks.configuration import ConfigurationBlock
from dapr_sidecar.blocks.crypto.block import CryptoBlock
from dapr_sidecar.blocks.lock import LockBlock
from dapr_sidecar.blocks.pubsub.publish import PubSubBlock
from dapr_sidecar.blocks.pubsub.subscriptions import SubscriptionSet
from dapr_sidecar.blocks.secrets import SecretsBlock
from dapr_sidecar.blocks.state.block import StateBlock
from dapr_sidecar.blocks.state.outbox import TransactionalOutbox
from dapr_sidecar.blocks.state.outbox_delivery import OutboxDelivery
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.options import Options
from dapr_sidecar.runtime.actors import ActorParts
from dapr_sidecar.runtime.app import Feeder
from dapr_sidecar.runtime.opening import Preparer
from dapr_sidecar.runtime.scheduler import SchedulerParts


class BuildingBlocks:
    """Every block but service invocation, which brings servers of its own."""

    def __init__(self, context: SidecarContext, options: Options) -> None:
        self.state = StateBlock(context)
        self.pubsub = PubSubBlock(context)
        self.state.outbox = TransactionalOutbox(self.pubsub)
        self.outbox = OutboxDelivery(self.pubsub, self.state.outbox)
        self.subscriptions = SubscriptionSet(
            self.pubsub, ask_app=not options.disable_init_subscribe
        )
        self.bindings = BindingsBlock(context)
        self.inputs = InputBindingSet(
            context, self.bindings, probe_timeout=options.app_binding_options_timeout
        )
        self.secrets = SecretsBlock(context)
        self.configuration = ConfigurationBlock(context)
        self.crypto = CryptoBlock(context)
        self.lock = LockBlock(context)
        self.absent = AbsentApis(has_placement=bool(options.placement_addresses))
        self.actors: ActorParts | None = None
        """Set as soon as there are connections to other sidecars for it to use."""
        self.scheduler: SchedulerParts | None = None
        """The same."""

    def preparers(self) -> dict[str, Preparer]:
        """Who derives something from a component of a category when it is loaded."""
        state = ActorStorePreparer(self.state, self.state.context.components)
        return {"state": state, "pubsub": self.pubsub, "lock": self.lock}

    def routes(self) -> list[Route]:
        """The HTTP API's routes."""
        return [
            *http_state.routes(self.state),
            *http_pubsub.routes(self.pubsub),
            *http_bindings.routes(self.bindings),
            *http_secrets.routes(self.secrets),
            *http_configuration.routes(self.configuration),
            *http_crypto.routes(self.crypto),
            *http_lock.routes(self.lock),
            *http_absent.routes(self.absent),
            *(self.actors.routes() if self.actors is not None else ()),
            *(self.scheduler.routes() if self.scheduler is not None else ()),
        ]

    def methods(self) -> list[Method]:
        """The gRPC API's methods."""
        return [
            *grpc_state.methods(self.state),
            *grpc_pubsub.methods(self.pubsub, self.subscriptions),
            *grpc_bindings.methods(self.bindings),
            *grpc_secrets.methods(self.secrets),
            *grpc_configuration.methods(self.configuration),
            *grpc_crypto.methods(self.crypto),
            *grpc_lock.methods(self.lock),
            *grpc_absent.methods(self.absent),
            *(self.actors.methods() if self.actors is not None else ()),
            *(self.scheduler.methods() if self.scheduler is not None else ()),
        ]

    def feeders(self) -> list[Feeder]:
        """What delivers to the app while it is healthy, in the order it is started."""
        feeders: list[Feeder] = [self.subscriptions, self.inputs]
        parts = (self.actors, self.scheduler)
        return [*feeders, *(part for part in parts if part is not None)]

    async def component_changed(self, manifest: Component) -> None:
        """A component came, changed or went."""
        if manifest.category in ("pubsub", "state"):
            await self.outbox.component_changed(manifest)
        if self.actors is not None:
            await self.actors.component_changed(manifest)
        if manifest.category == "pubsub":
            await self.subscriptions.component_changed(manifest.name)
        elif manifest.category == "bindings":
            await self.inputs.component_changed(manifest.name)
        elif manifest.category == "configuration":
            await self.configuration.component_changed(manifest.name)

    async def drain(self) -> None:
        """End deliveries for good; those that run may finish."""
        await asyncio.gather(self.subscriptions.drain(), self.inputs.stop(), self.outbox.stop())

    async def close(self) -> None:
        """End what clients still follow, so that their streams end and the servers can drain."""
        await self.configuration.drain()
