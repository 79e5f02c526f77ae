"""The gRPC services of pluggable components: their names, and what tells each its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dapr_common.wire.dapr.proto.components.v1 import (
    bindings_pb2,
    common_pb2,
    pubsub_pb2,
    secretstore_pb2,
    state_pb2,
)

PACKAGE = "dapr.proto.components.v1."


@dataclass(frozen=True, slots=True)
class Service:
    """One service; ``init`` is the request of its ``Init``, if it has one."""

    name: str
    init: Any = None

    @property
    def full_name(self) -> str:
        """As reflection lists it."""
        return PACKAGE + self.name

    def method(self, name: str) -> str:
        """The path of one of its methods."""
        return f"/{PACKAGE}{self.name}/{name}"

    def init_request(self, properties: Mapping[str, str]) -> Any:
        """What hands it a manifest's metadata."""
        return self.init(metadata=common_pb2.MetadataRequest(properties=dict(properties)))


STATE = Service("StateStore", state_pb2.InitRequest)
TRANSACTIONS = Service("TransactionalStateStore")
QUERIES = Service("QueriableStateStore")
LARGEST_TRANSACTION = Service("TransactionalStoreMultiMaxSize")
PUBSUB = Service("PubSub", pubsub_pb2.PubSubInitRequest)
INPUT = Service("InputBinding", bindings_pb2.InputBindingInitRequest)
OUTPUT = Service("OutputBinding", bindings_pb2.OutputBindingInitRequest)
SECRETS = Service("SecretStore", secretstore_pb2.SecretStoreInitRequest)

KINDS: Mapping[str, tuple[Service, ...]] = {
    "state": (STATE,),
    "pubsub": (PUBSUB,),
    "bindings": (INPUT, OUTPUT),
    "secretstores": (SECRETS,),
}
"""The kinds that can be pluggable; a process has to serve one of the services."""
