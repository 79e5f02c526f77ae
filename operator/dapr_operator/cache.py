"""What the cluster holds of Dapr's kinds, by namespace; kept up to date by a watch of each kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from dapr_common.kube.api_errors import ForbiddenError, KubeError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.informer import Change, Informer
from dapr_common.kube.kinds import CRDS, KubeObject, Selection
from dapr_common.observe.logs import get_logger
from dapr_operator.kinds import DAPR_KINDS, DaprKind
from dapr_operator.resource import Resource

_LOG = get_logger("dapr.operator.cache")
_LOOK_SECONDS, _LOOK_RARELY_SECONDS = 1.0, 10.0


class KindCache:
    """The objects of one kind. ``settled`` is set once it is known which there are.

    A kind whose definition is missing is waited for; an optional one has no objects meanwhile.
    """

    def __init__(self, client: KubeClient, kind: DaprKind, namespace: str) -> None:
        self.kind = kind
        self.settled = asyncio.Event()
        self._client = client
        self._informer = Informer(
            client, Selection(kind.kind, namespace), partial(Resource.of, kind)
        )
        self._informer.on_change(self._index)
        self._by_namespace: dict[str, dict[str, Resource]] = {}

    def get(self, namespace: str, name: str) -> Resource | None:
        """One object, if there is one."""
        return self._by_namespace.get(namespace, {}).get(name)

    def newest(self, namespace: str, name: str) -> Resource | None:
        """The same with what changed since without a meaning for sidecars, such as its status."""
        return self._informer.get(name, namespace)

    def of_namespace(self, namespace: str) -> list[Resource]:
        """All objects of a namespace, in the order of their names."""
        found = self._by_namespace.get(namespace, {})
        return [found[name] for name in sorted(found)]

    def all(self) -> list[Resource]:
        """All objects of all namespaces."""
        return [one for found in self._by_namespace.values() for one in found.values()]

    def on_change(self, handler: Callable[[Change[Resource]], None]) -> None:
        """Call ``handler`` for every change of meaning, also for those of the first list."""
        self._informer.on_change(handler)

    async def run(self) -> None:
        """Follow until cancelled."""
        await self._until_served()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._informer.run(), name=f"follow {self.kind.kind.plural}")
            await self._informer.synced.wait()
            self.settled.set()

    def _index(self, change: Change[Resource]) -> None:
        namespace, name = change.key
        if change.after is not None:
            self._by_namespace.setdefault(namespace, {})[name] = change.after
            return
        found = self._by_namespace.get(namespace, {})
        found.pop(name, None)
        if not found:
            self._by_namespace.pop(namespace, None)

    async def _until_served(self) -> None:
        said = ""
        while (why := await self._not_served()) is not None:
            if self.kind.optional:
                self.settled.set()
            if why != said:
                _LOG.log(*self._how_to_say(why))
            said = why
            await asyncio.sleep(_LOOK_RARELY_SECONDS if self.kind.optional else _LOOK_SECONDS)
        if said:
            _LOG.info("%s is served now", self.kind.crd)

    def _how_to_say(self, why: str) -> tuple[int, str, str, str]:
        if self.kind.optional:
            return 20, "%s cannot be used: %s", self.kind.word, why
        return 30, "Waiting for %s: %s", self.kind.crd, why

    async def _not_served(self) -> str | None:
        try:
            definition = await self._client.get(CRDS, self.kind.crd)
        except NotFoundError:
            return "its definition is not installed"
        except ForbiddenError:
            return None  # whoever may not look at definitions finds out when listing
        except KubeError as error:
            return str(error)
        return _why_not(definition, self.kind.kind.version)


class Cache:
    """All kinds of one namespace, or of every one."""

    def __init__(self, client: KubeClient, namespace: str = "") -> None:
        self.kinds = {kind: KindCache(client, kind, namespace) for kind in DAPR_KINDS}

    def __getitem__(self, kind: DaprKind) -> KindCache:
        return self.kinds[kind]

    async def settled(self) -> None:
        """Wait until every kind is known."""
        for one in self.kinds.values():
            await one.settled.wait()

    async def run(self) -> None:
        """Follow everything until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for one in self.kinds.values():
                tasks.create_task(one.run(), name=f"know {one.kind.kind.plural}")


def _why_not(definition: KubeObject, version: str) -> str | None:
    served = [one["name"] for one in definition["spec"]["versions"] if one.get("served")]
    if version not in served:
        return f"it is served as {', '.join(served)}, not as {version}: update its definition"
    conditions = (definition.get("status") or {}).get("conditions") or ()
    if any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
        return None
    return "the API server does not serve it yet"
