"""What actors keep: reads by anybody, writes only on behalf of an instance that lives here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dapr_common.errors import DaprError
from dapr_sidecar.blocks.actors import errors, state_errors
from dapr_sidecar.blocks.actors.base import SEPARATOR, ActiveActors, ActorRef, Ownership
from dapr_sidecar.blocks.actors.fence import WriteFence
from dapr_sidecar.blocks.actors.names import check_actor, check_not_reserved
from dapr_sidecar.blocks.actors.stored import PARTITION_KEY, ActorStore, MayWrite
from dapr_sidecar.components.state.base import (
    DeleteRequest,
    GetResponse,
    SetRequest,
    StateValue,
    TransactionOperation,
)
from dapr_sidecar.context import SidecarContext

_TTL = "ttlinseconds"
_TTL_FEATURE = "ActorStateTTL"


@dataclass(frozen=True, slots=True)
class Upsert:
    """Write one key of an actor."""

    key: str
    value: StateValue
    etag: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one key of an actor."""

    key: str
    etag: str | None = None


Operation = Upsert | Delete
ReadOperations = Callable[[], Sequence[Operation]]
"""Raises ``ValueError`` or ``DaprError`` for an operation that cannot be used."""


class ActorState:
    """State of actors. Implements ``OwnershipListener``: a type moves when its writes are over."""

    def __init__(
        self, context: SidecarContext, store: ActorStore, ownership: Ownership, active: ActiveActors
    ) -> None:
        self._context = context
        self._store = store
        self._ownership = ownership
        self._active = active
        self._fence = WriteFence(ownership)

    async def get(self, ref: ActorRef, key: str) -> GetResponse:
        """Read one key; ``data=None`` when absent. Raises ``DaprError``."""
        check_not_reserved(ref.type)
        check_actor(ref)
        self._store.check()
        await self._settled(ref)
        partition = self._partition(ref)
        try:
            return await self._store.get(f"{partition}{SEPARATOR}{key}", partition)
        except Exception as error:
            raise _failed(error, state_errors.state_get) from error

    async def transact(self, ref: ActorRef, operations: ReadOperations) -> None:
        """Apply operations as one. Raises ``DaprError``.

        Whether the actor lives here is told before what is wrong with an operation.
        """
        check_not_reserved(ref.type)
        check_actor(ref)
        self._store.check()
        await self._settled(ref)
        self._check_lives_here(ref)
        partition = self._partition(ref)
        try:
            requests = [self._request(operation, partition) for operation in operations()]
            self._check_size(len(requests))
        except ValueError as error:
            raise state_errors.state_save(error) from error
        if not requests:
            return

        async def write(may: MayWrite) -> None:
            await self._store.transact(requests, {PARTITION_KEY: partition}, may)

        try:
            await self._fence.run(ref, write)
        except Exception as error:
            raise _failed(error, state_errors.state_save) from error

    # --- when types move --------------------------------------------------------------------

    async def leaving(self, types: frozenset[str]) -> None:
        """Wait for writes that began while the actors were this sidecar's, as long as they are."""
        await self._fence.finished(types)

    def settled(self, types: frozenset[str]) -> None:
        """Nothing to do: every write asks whose the actor is."""

    def cut(self) -> None:
        """Give up writes for actors that are not here any more, without waiting to be told."""
        self._fence.cut()

    # --- inside -----------------------------------------------------------------------------

    async def _settled(self, ref: ActorRef) -> None:
        """Wait while the type moves; a turn that is being drained must be able to end."""
        if not self._ownership.holds(ref):
            await self._ownership.wait_settled(ref.type)

    def _check_lives_here(self, ref: ActorRef) -> None:
        # A sidecar that placement took the actor from must not write what its new owner reads.
        if not self._active.is_active(ref) or not self._ownership.holds(ref):
            raise errors.instance_missing()

    def _check_size(self, count: int) -> None:
        limit = self._store.max_operations()
        if limit is not None and count > limit:
            raise ValueError(
                f"the transaction contains {count} operations, which is more than what the state "
                f"store supports: {limit}"
            )

    def _partition(self, ref: ActorRef) -> str:
        return f"{self._context.identity.app_id}{SEPARATOR}{ref}"

    def _request(self, operation: Operation, partition: str) -> TransactionOperation:
        if not operation.key:
            raise ValueError("missing key")
        key = f"{partition}{SEPARATOR}{operation.key}"
        if isinstance(operation, Delete):
            return DeleteRequest(key, operation.etag, {PARTITION_KEY: partition})
        metadata = operation.metadata
        if any(name.lower() == _TTL for name in metadata) and not self._has_ttl():
            raise ValueError(
                f'ttlInSeconds is not supported without the "{_TTL_FEATURE}" feature enabled'
            )
        return SetRequest(
            key, operation.value, operation.etag, {**metadata, PARTITION_KEY: partition}
        )

    def _has_ttl(self) -> bool:
        return is_enabled(self._context.configuration, _TTL_FEATURE)


def is_enabled(configuration: Mapping[str, object], feature: str) -> bool:
    """Whether a Configuration's spec turns a feature on; the last entry of its name counts."""
    enabled = False
    entries = configuration.get("features")
    for entry in entries if isinstance(entries, Sequence) else ():
        if isinstance(entry, Mapping) and entry.get("name") == feature:
            enabled = entry.get("enabled") is True
    return enabled


def _failed(error: Exception, wrap: Callable[[object], DaprError]) -> DaprError:
    return error if isinstance(error, DaprError) else wrap(error)
