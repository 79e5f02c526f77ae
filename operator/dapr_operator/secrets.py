"""Reads secrets when an object names them: few at a time, each once for everybody who asks.

No secret is kept for longer than a moment. A whole fleet that starts asks the API server once a
second and secret; an application that is restarted right after its secret was changed gets the
new value.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from dapr_common.kube.api_errors import KubeError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.informer import Key
from dapr_common.kube.kinds import SECRETS
from dapr_common.observe.logs import get_logger
from dapr_operator.kinds import DaprKind
from dapr_operator.resource import Resource
from dapr_operator.secret_values import Filled, Secret, fill

_LOG = get_logger("dapr.operator.secrets")
_KEPT_SECONDS = 1.0
_MOST_KEPT = 1024
_AT_A_TIME = 16


class SecretsUnreachableError(Exception):
    """Secrets cannot be read at the moment, or may not be."""


class SecretReader:
    """Puts the values of secrets into resources."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._kept: OrderedDict[Key, tuple[float, asyncio.Task[Secret | None]]] = OrderedDict()
        self._slots = asyncio.Semaphore(_AT_A_TIME)

    async def filled(self, kind: DaprKind, resource: Resource) -> Filled:
        """A resource with its values. Raises ``SecretsUnreachableError``."""
        if not resource.secrets:
            return Filled(resource.body)
        found = await self._secrets(resource.namespace, resource.secrets)
        return fill(kind, resource.body, found)

    async def close(self) -> None:
        """Stop reading, and forget."""
        tasks = [task for _, task in self._kept.values()]
        self._kept.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _secrets(self, namespace: str, names: Iterable[str]) -> dict[str, Secret | None]:
        tasks = {name: self._read((namespace, name)) for name in names}
        await asyncio.wait(tasks.values())  # shared: whoever is cancelled leaves them be
        try:
            return {name: task.result() for name, task in tasks.items()}
        except KubeError as error:
            raise SecretsUnreachableError(f"secrets cannot be read: {error}") from error
        except asyncio.CancelledError:
            raise SecretsUnreachableError("the operator is shutting down") from None

    def _read(self, key: Key) -> asyncio.Task[Secret | None]:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._kept and (
            next(iter(self._kept.values()))[0] <= now or len(self._kept) >= _MOST_KEPT
        ):
            self._kept.popitem(last=False)
        known = self._kept.get(key)
        if known is not None and not _failed(known[1]):
            return known[1]
        task = loop.create_task(self._fetch(key), name="read a secret")
        task.add_done_callback(_failed)  # those who asked may be gone when it fails
        self._kept[key] = (now + _KEPT_SECONDS, task)
        return task

    async def _fetch(self, key: Key) -> Secret | None:
        namespace, name = key
        async with self._slots:
            try:
                found = await self._client.get(SECRETS, name, namespace)
            except NotFoundError:
                return None
        return dict(found.get("data") or {})


def _failed(task: asyncio.Task[Secret | None]) -> bool:
    """Whether it is over, and for nothing."""
    return task.done() and (task.cancelled() or task.exception() is not None)
