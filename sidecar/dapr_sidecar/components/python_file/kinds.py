"""What a class in a file has to be, by the kind its manifest names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dapr_sidecar.components.base import Component
from dapr_sidecar.components.bindings.base import InputBinding, OutputBinding
from dapr_sidecar.components.pubsub.base import PubSub
from dapr_sidecar.components.secretstores.base import SecretStore
from dapr_sidecar.components.state.base import StateStore

_COMMON = ("open", "close", "ping")


@dataclass(frozen=True, slots=True)
class Kind:
    """``words`` says what the classes are; ``calls`` are the methods the sidecar awaits."""

    words: str
    bases: tuple[type[Component], ...]
    calls: tuple[str, ...]

    def admits(self, found: type) -> bool:
        """Whether a class is of this kind."""
        return issubclass(found, self.bases)

    @property
    def expected(self) -> str:
        """The bases as a file imports them."""
        return " or ".join(f"{base.__module__}.{base.__name__}" for base in self.bases)


KINDS: Mapping[str, Kind] = {
    "state": Kind(
        "state store",
        (StateStore,),
        (
            *_COMMON,
            *("get", "set", "delete", "bulk_get", "bulk_set", "bulk_delete"),
            *("transact", "query"),
        ),
    ),
    "pubsub": Kind(
        "message bus",
        (PubSub,),
        (*_COMMON, "publish", "bulk_publish", "subscribe", "bulk_subscribe"),
    ),
    "bindings": Kind(
        "binding", (InputBinding, OutputBinding), (*_COMMON, "invoke", "start", "stop")
    ),
    "secretstores": Kind("secret store", (SecretStore,), (*_COMMON, "get", "bulk_get")),
}


def kind_of(found: type) -> str:
    """The category whose base a class has; empty when it is no component of a file's kinds."""
    return next((name for name, kind in KINDS.items() if kind.admits(found)), "")
