"""What the state API means, for both transports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol, TypeVar

from dapr_common.kube import resources
from dapr_sidecar.blocks.state import errors
from dapr_sidecar.blocks.state.rules import SEPARATOR, StoreRules, store_rules, strip_prefix
from dapr_sidecar.components.state.base import (
    BulkError,
    BulkGetItem,
    DeleteRequest,
    EtagError,
    GetRequest,
    GetResponse,
    Queryable,
    QueryResult,
    SetRequest,
    StateStore,
    StateValue,
    Transactional,
    TransactionLimited,
    TransactionOperation,
)
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.loaded import Loaded

T = TypeVar("T")
_KIND = "Statestore"
_CONCURRENCY = frozenset({"", "first-write", "last-write"})
_CONSISTENCY = frozenset({"", "strong", "eventual"})
_EMPTY: Mapping[str, str] = {}


class View:
    """One store as one call sees it. ``http`` selects the transport's wording of errors."""

    __slots__ = ("http", "name", "rules", "store")

    def __init__(self, name: str, loaded: Loaded[StateStore], http: bool) -> None:
        self.name = name
        self.store = loaded.component
        rules = loaded.extra
        assert isinstance(rules, StoreRules)
        self.rules = rules
        self.http = http

    def key(self, key: str, *, named: bool = True) -> str:
        """The stored form of a user's key. Raises ``DaprError``."""
        if SEPARATOR in key:
            raise errors.illegal_key(self.name, key, field=key if named else "", http=self.http)
        return self.rules.prefix + key


@dataclass(slots=True)
class SaveItem:
    """One item to save."""

    key: str
    value: StateValue
    etag: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    concurrency: str = ""
    consistency: str = ""


@dataclass(slots=True)
class DeleteItem:
    """One item to delete."""

    key: str
    etag: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    concurrency: str = ""
    consistency: str = ""


class Outbox(Protocol):
    """Publishes what a transaction writes."""

    async def publish(
        self,
        view: View,
        operations: list[TransactionOperation],
        items: Sequence[SaveItem | DeleteItem],
        metadata: Mapping[str, str],
    ) -> list[TransactionOperation]:
        """Publish, and return the operations to execute. Raises ``DaprError``."""
        ...


class StateBlock:
    """Get, save, delete, bulk, transactions and queries."""

    def __init__(self, context: SidecarContext) -> None:
        self.context = context
        self.outbox: Outbox | None = None

    def prepare(self, manifest: resources.Component, properties: dict[str, str]) -> StoreRules:
        """Prefix, encryption and outbox of a component. Raises ``SettingsError``."""
        identity = self.context.identity
        return store_rules(manifest, properties, identity.app_id, identity.namespace)

    def view(self, name: str, *, http: bool, name_app: bool = False) -> View:
        """The store of a request. Raises ``DaprError``."""
        stores = self.context.components.state
        loaded = stores.get(name)
        if loaded is None:
            app_id = self.context.identity.app_id if name_app else None
            raise (errors.not_found if stores else errors.not_configured)(name, app_id)
        return View(name, loaded, http)

    # --- single -----------------------------------------------------------------------------

    async def get(
        self, view: View, key: str, consistency: str, metadata: Mapping[str, str]
    ) -> GetResponse:
        """Read one key; ``data=None`` when absent. Raises ``DaprError``."""
        request = GetRequest(view.key(key), metadata, consistency)
        try:
            response = await self._run(view, "get", lambda: view.store.get(request))
            if view.rules.encryption is not None and response.data:
                response.data = view.rules.encryption.decrypt(response.data)
        except Exception as error:
            raise errors.get_failed(view.name, key, error) from error
        return response

    async def save(self, view: View, items: Sequence[SaveItem]) -> None:
        """Write items; several go in parallel, without order. Raises ``DaprError``."""
        if not items:
            return
        requests = [self._set_request(view, item) for item in items]
        try:
            for item in items:
                _check_options(item)
            if len(requests) == 1:
                request = requests[0]
                await self._run(view, "set", lambda: view.store.set(request))
            else:
                await self._run(view, "bulk_set", lambda: self._bulk_set(view.store, requests))
        except Exception as error:
            raise errors.save_failed(view.name, error) from error

    async def delete(self, view: View, item: DeleteItem) -> None:
        """Delete one key; an absent one is fine. Raises ``DaprError``."""
        request = _delete_request(view, item)
        try:
            _check_options(item)
            await self._run(view, "delete", lambda: view.store.delete(request))
        except Exception as error:
            raise errors.delete_failed(item.key, error) from error

    # --- bulk -------------------------------------------------------------------------------

    async def bulk_get(
        self, view: View, keys: Sequence[str], parallelism: int, metadata: Mapping[str, str]
    ) -> list[BulkGetItem]:
        """Read many keys; each answer carries its own error. Raises ``DaprError``."""
        requests = [GetRequest(view.key(key), metadata) for key in keys]
        if not requests:
            return []
        try:
            items = await self._run(
                view, "bulk_get", lambda: view.store.bulk_get(requests, parallelism)
            )
        except Exception as error:
            raise errors.bulk_get_failed(error) from error
        for item in items:
            item.key = strip_prefix(item.key) if view.rules.prefix else item.key
            if view.rules.encryption is not None and item.data:
                try:
                    item.data = view.rules.encryption.decrypt(item.data)
                except Exception as error:  # noqa: BLE001 - reported per item, by contract
                    item.data, item.error = None, str(error)
        return items

    async def bulk_delete(self, view: View, items: Sequence[DeleteItem]) -> None:
        """Delete many keys. Raises ``DaprError``."""
        requests = [_delete_request(view, item) for item in items]
        if not requests:
            return
        try:
            await self._run(view, "bulk_delete", lambda: _bulk_delete(view.store, requests))
        except Exception as error:
            raise errors.bulk_delete_failed(view.name, error) from error

    # --- transactions -----------------------------------------------------------------------

    def transactional(self, view: View) -> Transactional:
        """The store's transaction ability. Raises ``DaprError``."""
        if not isinstance(view.store, Transactional):
            raise errors.transactions_not_supported(view.name)
        return view.store

    async def transact(
        self,
        view: View,
        items: Sequence[SaveItem | DeleteItem],
        metadata: Mapping[str, str],
    ) -> None:
        """Apply operations as one. Raises ``DaprError``."""
        store = self.transactional(view)
        operations: list[TransactionOperation] = [
            self._set_request(view, item, named=False)
            if isinstance(item, SaveItem)
            else _delete_request(view, item, named=False)
            for item in items
        ]
        if not operations:
            return
        if isinstance(store, TransactionLimited) and len(operations) > store.max_operations:
            raise errors.too_many_operations(view.name, len(operations), store.max_operations)
        if view.rules.outbox is not None and self.outbox is not None:
            operations = await self.outbox.publish(view, operations, items, metadata)
        try:
            await self._run(view, "transaction", lambda: store.transact(operations, metadata))
        except Exception as error:
            raise errors.transaction_failed(error) from error

    async def query(
        self, view: View, query: Mapping[str, object], metadata: Mapping[str, str]
    ) -> QueryResult:
        """Run a query. Raises ``DaprError``."""
        store = view.store
        if not isinstance(store, Queryable):
            raise errors.query_not_supported(view.name)
        if view.rules.encryption is not None:
            raise errors.query_failed(view.name, "cannot query encrypted store")
        try:
            result = await self._run(view, "query", lambda: store.query(query, metadata))
        except Exception as error:
            raise errors.query_failed(view.name, error) from error
        for item in result.items:
            item.key = strip_prefix(item.key)
        return result

    # --- inside -----------------------------------------------------------------------------

    def _set_request(self, view: View, item: SaveItem, *, named: bool = True) -> SetRequest:
        key = view.key(item.key, named=named)
        value = item.value
        if view.rules.encryption is not None:
            value = view.rules.encryption.encrypt(value)
        return SetRequest(
            key, value, item.etag or None, item.metadata, item.concurrency, item.consistency
        )

    async def _run(self, view: View, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        context = self.context
        started = perf_counter()
        success = False
        runner = context.policies.component_outbound(view.name, _KIND)
        try:
            result = await (call() if runner is None else runner.run(call))
            success = True
        finally:
            elapsed = (perf_counter() - started) * 1000
            context.metrics.component("state", view.name, operation, success, elapsed)
        return result

    @staticmethod
    async def _bulk_set(store: StateStore, requests: list[SetRequest]) -> None:
        try:
            await store.bulk_set(requests)
        except BulkError as error:
            # A retry repeats only what can succeed: etag failures are final.
            failed = [requests[i] for i, e in error.errors.items() if not isinstance(e, EtagError)]
            if failed:
                requests[:] = failed
            raise _joined(error) from error


async def _bulk_delete(store: StateStore, requests: Sequence[DeleteRequest]) -> None:
    try:
        await store.bulk_delete(requests)
    except BulkError as error:
        raise _joined(error) from error


def _joined(error: BulkError) -> Exception:
    causes = list(error.errors.values())
    if all(isinstance(cause, EtagError) for cause in causes):
        invalid = any(isinstance(c, EtagError) and c.invalid for c in causes)
        return EtagError(str(error), invalid=invalid)
    return error


def _delete_request(view: View, item: DeleteItem, *, named: bool = True) -> DeleteRequest:
    return DeleteRequest(
        view.key(item.key, named=named),
        item.etag or None,
        item.metadata,
        item.concurrency,
        item.consistency,
    )


def _check_options(item: SaveItem | DeleteItem) -> None:
    if item.concurrency not in _CONCURRENCY:
        raise ValueError(f"unrecognized concurrency model '{item.concurrency}'")
    if item.consistency not in _CONSISTENCY:
        raise ValueError(f"unrecognized consistency model '{item.consistency}'")
