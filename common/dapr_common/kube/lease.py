"""A lease kept as a Lease of Kubernetes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from dapr_common.kube.api_errors import ConflictError, KubeError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import LEASES, Kind, KubeObject
from dapr_common.lease import Record, ReplacedError, StoreError

ADDRESS = "dapr.io/operator-address"


class KubeLease:
    """The object ``name``. ``owners`` are objects it shall not outlive."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        owners: Sequence[KubeObject] = (),
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._owners = list(owners)

    async def read(self) -> Record:
        """As the API server has it. Raises ``StoreError``."""
        try:
            return _record(await self._client.get(LEASES, self._name, self._namespace))
        except NotFoundError:
            return Record(raw={"metadata": {"name": self._name, "namespace": self._namespace}})
        except KubeError as error:
            raise StoreError(str(error)) from error

    async def write(self, record: Record) -> Record:
        """Replace it. Raises ``StoreError``."""
        body = self._body(record)
        try:
            if record.version:
                return _record(await self._client.update(LEASES, body))
            return _record(await self._client.create(LEASES, body, self._namespace))
        except ConflictError as error:
            raise ReplacedError(str(error)) from error
        except KubeError as error:
            raise StoreError(str(error)) from error

    def _body(self, record: Record) -> KubeObject:
        before = record.raw
        spec: dict[str, Any] = dict(before.get("spec") or {})
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if spec.get("holderIdentity") != record.holder:
            spec["acquireTime"] = moment
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        metadata = dict(before["metadata"])
        annotations = dict(metadata.get("annotations") or {})
        if record.address or ADDRESS in annotations:
            metadata["annotations"] = {**annotations, ADDRESS: record.address}
        if self._owners:
            metadata["ownerReferences"] = self._owners
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                **spec,
                "holderIdentity": record.holder,
                "renewTime": moment,
                "leaseDurationSeconds": max(round(record.life_seconds), 1),
            },
        }


async def workload_as_owner(
    client: KubeClient, kind: Kind, word: str, name: str, namespace: str
) -> list[KubeObject]:
    """A program's own workload, as the owner of its lease: an uninstall takes both away.

    ``word`` is the name of ``kind``. None where there is no such workload, or it may not be seen.
    """
    try:
        found = await client.get(kind, name, namespace)
    except KubeError:
        return []
    version = f"{kind.group}/{kind.version}"
    uid = found["metadata"]["uid"]
    return [{"apiVersion": version, "kind": word, "name": name, "uid": uid}]


def _record(body: KubeObject) -> Record:
    spec = body.get("spec") or {}
    annotations = body["metadata"].get("annotations") or {}
    return Record(
        holder=str(spec.get("holderIdentity") or ""),
        life_seconds=float(spec.get("leaseDurationSeconds") or 0),
        address=str(annotations.get(ADDRESS) or ""),
        version=str(body["metadata"].get("resourceVersion") or ""),
        raw=body,
    )
