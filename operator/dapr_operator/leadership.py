"""Which of several operators leads: whoever holds the Lease."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from dapr_common.kube.api_errors import AlreadyExistsError, ConflictError, KubeError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import KubeObject
from dapr_common.observe.logs import get_logger
from dapr_operator.kinds import DEPLOYMENTS, LEASES

NAME = "operator.dapr.io"
ADDRESS = "dapr.io/operator-address"
_DEPLOYMENT = "dapr-operator"
_LOG = get_logger("dapr.operator.leadership")
_LIFE_SECONDS = 15
_RENEW_SECONDS = 2.0
_GIVE_UP_SECONDS = 10.0

Lead = Callable[[], Awaitable[None]]
LeaderChanged = Callable[[str], None]


class Lease:
    """Held by one operator at a time.

    Other operators' clocks need not agree with ours: a Lease is old when it has not changed for
    its life, as seen from here. ``address`` is where the holder's API is; ``changed`` is told the
    leader's address whenever it is another one, empty when nobody leads. ``owners`` are objects
    the Lease shall not outlive.
    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        address: str,
        changed: LeaderChanged,
        owners: Sequence[KubeObject] = (),
    ) -> None:
        self.identity = f"{socket.gethostname()}_{secrets.token_hex(4)}"
        self._client = client
        self._namespace = namespace
        self._address = address
        self._changed = changed
        self._owners = list(owners)
        self._leader = ""
        self._seen: tuple[str, float] = ("", 0.0)

    async def run(self, lead: Lead) -> None:
        """Lead whenever this one may, until cancelled; then let another one at once."""
        loop = asyncio.get_running_loop()
        while True:
            body = await self._try_to_hold(loop.time())
            if body is None:
                await asyncio.sleep(_RENEW_SECONDS)
                continue
            _LOG.info("This operator leads: %s", self.identity)
            try:
                await self._lead(lead, body)
            finally:
                await asyncio.shield(self._release())
            _LOG.warning("This operator does not lead any longer")

    async def _lead(self, lead: Lead, body: KubeObject) -> None:
        leading = asyncio.ensure_future(lead())
        renewing = asyncio.ensure_future(self._renew(body))
        try:
            await asyncio.wait({leading, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if leading.done():
                leading.result()
        finally:
            for task in (leading, renewing):
                task.cancel()
            await asyncio.wait({leading, renewing})

    async def _renew(self, body: KubeObject) -> None:
        """Returns when the Lease is lost, in time before anybody else may take it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _GIVE_UP_SECONDS
        while loop.time() < until:
            await asyncio.sleep(_RENEW_SECONDS)
            try:
                async with asyncio.timeout(max(until - loop.time(), 0.1)):
                    body = await self._write(body)
            except ConflictError:
                return
            except (KubeError, TimeoutError) as error:
                _LOG.warning("The lease could not be renewed: %s", error or "no answer")
                with suppress(KubeError, TimeoutError):
                    async with asyncio.timeout(_RENEW_SECONDS):
                        body = await self._client.get(LEASES, NAME, self._namespace)
                if _spec(body).get("holderIdentity") != self.identity:
                    return
            else:
                until = loop.time() + _GIVE_UP_SECONDS

    async def _try_to_hold(self, now: float) -> KubeObject | None:
        try:
            body = await self._client.get(LEASES, NAME, self._namespace)
        except NotFoundError:
            body = {"metadata": {"name": NAME, "namespace": self._namespace}}
        except KubeError as error:
            _LOG.warning("The lease cannot be read: %s", error)
            return None
        if not self._is_free(body, now):
            self._tell((body["metadata"].get("annotations") or {}).get(ADDRESS) or "")
            return None
        try:
            body = await self._write(body)
        except (AlreadyExistsError, ConflictError):
            return None  # another one was faster
        except KubeError as error:
            _LOG.warning("The lease cannot be taken: %s", error)
            return None
        self._tell(self._address)
        return body

    def _is_free(self, body: KubeObject, now: float) -> bool:
        version = str(body["metadata"].get("resourceVersion") or "")
        if version != self._seen[0]:
            self._seen = (version, now)
        spec = _spec(body)
        life = float(spec.get("leaseDurationSeconds") or _LIFE_SECONDS)
        return not spec.get("holderIdentity") or now - self._seen[1] > life

    async def _write(self, body: KubeObject, *, holder: str | None = None) -> KubeObject:
        spec = _spec(body)
        holder = self.identity if holder is None else holder
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if spec.get("holderIdentity") != holder:
            spec = {
                **spec,
                "acquireTime": moment,
                "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1,
            }
        metadata = {
            **body["metadata"],
            "annotations": {
                **(body["metadata"].get("annotations") or {}),
                ADDRESS: self._address if holder else "",
            },
        }
        if self._owners:
            metadata["ownerReferences"] = self._owners
        written = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                **spec,
                "holderIdentity": holder,
                "renewTime": moment,
                "leaseDurationSeconds": _LIFE_SECONDS if holder else 1,
            },
        }
        if metadata.get("resourceVersion"):
            return await self._client.update(LEASES, written)
        return await self._client.create(LEASES, written, self._namespace)

    async def _release(self) -> None:
        self._tell("")
        try:
            async with asyncio.timeout(_RENEW_SECONDS):
                body = await self._client.get(LEASES, NAME, self._namespace)
                if _spec(body).get("holderIdentity") == self.identity:
                    await self._write(body, holder="")
        except (KubeError, TimeoutError) as error:
            _LOG.warning("The lease was not released, it runs out: %s", error or "no answer")

    def _tell(self, address: str) -> None:
        if address != self._leader:
            self._leader = address
            self._changed(address)


def _spec(body: KubeObject) -> dict[str, Any]:
    return dict(body.get("spec") or {})


async def lease_owners(client: KubeClient, namespace: str) -> list[KubeObject]:
    """The operator's Deployment, so that its Lease is gone after an uninstall."""
    try:
        found = await client.get(DEPLOYMENTS, _DEPLOYMENT, namespace)
    except KubeError:
        return []
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": _DEPLOYMENT,
            "uid": found["metadata"]["uid"],
        }
    ]
