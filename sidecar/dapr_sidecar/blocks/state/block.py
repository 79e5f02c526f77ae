"""What the state API means, for both transports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import TypeVar

from dapr_common.kube import resources
from dapr_sidecar.blocks.state import errors
from dapr_sidecar.blocks.state.bulk import BulkWrite
from dapr_sidecar.blocks.state.items import DeleteItem, Item, SaveItem, check_options
from dapr_sidecar.blocks.state.outbox import TransactionalOutbox
from dapr_sidecar.blocks.state.rules import StoreRules, store_rules, strip_prefix
from dapr_sidecar.blocks.state.view import View
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import (
    BulkGetItem,
    DeleteRequest,
    EtagError,
    GetRequest,
    GetResponse,
    Queryable,
    QueryResult,
    SetRequest,
    Transactional,
    TransactionLimited,
    TransactionOperation,
)
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.resiliency.base import AnsweredError

T = TypeVar("T")
_KIND = "Statestore"


class StateBlock:
    """Get, save, delete, bulk, transactions and queries."""

    def __init__(self, context: SidecarContext) -> None:
        self.context = context
        self.outbox: TransactionalOutbox | None = None

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
            response = await self._run(view, "get", view.store.get, request)
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
                check_options(item)
            if len(requests) == 1:
                await self._run(view, "set", view.store.set, requests[0])
            else:
                write = BulkWrite(view.store.bulk_set, requests)
                await self._run(view, "bulk_set", write.attempt)
        except Exception as error:
            raise errors.save_failed(view.name, error) from error

    async def delete(self, view: View, item: DeleteItem) -> None:
        """Delete one key; an absent one is fine. Raises ``DaprError``."""
        request = _delete_request(view, item)
        try:
            check_options(item)
            await self._run(view, "delete", view.store.delete, request)
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
            items = await self._run(view, "bulk_get", view.store.bulk_get, requests, parallelism)
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
            write = BulkWrite(view.store.bulk_delete, requests)
            await self._run(view, "bulk_delete", write.attempt)
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
        items: Sequence[Item],
        metadata: Mapping[str, str],
    ) -> None:
        """Apply operations as one. Raises ``DaprError``."""
        store = self.transactional(view)
        operations: Sequence[TransactionOperation] = [
            self._set_request(view, item, named=False)
            if isinstance(item, SaveItem)
            else _delete_request(view, item, named=False)
            for item in items
        ]
        if not operations:
            return
        outbox = self.outbox if view.rules.outbox is not None else None
        batch = None
        if outbox is not None:
            batch = outbox.plan(view, operations, items, metadata)
            operations = batch.operations
        if isinstance(store, TransactionLimited) and len(operations) > store.max_operations:
            raise errors.too_many_operations(view.name, len(operations), store.max_operations)
        call = partial(store.transact, operations, metadata)
        if outbox is not None and batch is not None:
            await outbox.publish(batch)
            call = partial(outbox.execute, batch, call)
        try:
            await self._run(view, "transaction", call)
        except BaseException as error:
            if outbox is not None and batch is not None:
                await outbox.failed(batch, error)
            if isinstance(error, Exception):
                raise errors.transaction_failed(error) from error
            raise

    async def query(self, view: View, text: bytes, metadata: Mapping[str, str]) -> QueryResult:
        """Run a query, given as JSON. Raises ``DaprError``."""
        store = view.store
        if not isinstance(store, Queryable):
            raise errors.query_not_supported(view.name)
        if view.rules.encryption is not None:
            raise errors.query_failed(view.name, "cannot query encrypted store")
        try:
            query = encoding.loads(text)
            if not isinstance(query, dict):
                raise ValueError("not an object")
        except ValueError as error:
            wrong = f"failed to parse JSON query body: {error}"
            raise errors.query_failed(view.name, wrong) from error
        try:
            result = await self._run(view, "query", store.query, query, metadata)
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

    async def _run(
        self, view: View, operation: str, call: Callable[..., Awaitable[T]], *arguments: object
    ) -> T:
        context = self.context
        started = perf_counter()
        success = False
        runner = context.policies.component_outbound(view.name, _KIND)
        try:
            if runner is None:
                result = await call(*arguments)
            else:
                result = await runner.run(lambda: _final(call, arguments))
            success = True
        finally:
            elapsed = (perf_counter() - started) * 1000
            context.metrics.component("state", view.name, operation, success, elapsed)
        return result


async def _final(call: Callable[..., Awaitable[T]], arguments: tuple[object, ...]) -> T:
    """A call whose etag failures no policy repeats, and no breaker holds against the store."""
    try:
        return await call(*arguments)
    except EtagError as error:
        raise AnsweredError(str(error)) from error


def _delete_request(view: View, item: DeleteItem, *, named: bool = True) -> DeleteRequest:
    return DeleteRequest(
        view.key(item.key, named=named),
        item.etag or None,
        item.metadata,
        item.concurrency,
        item.consistency,
    )
