"""The Deployments and Services of a run: made, taken over, deleted, and never a stranger's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from dapr_cli.console import Console
from dapr_cli.errors import CliError
from dapr_cli.kube.kinds import DEPLOYMENTS, SERVICES
from dapr_cli.kube.runs.manifests import APP_LABEL, NAMESPACE
from dapr_common.kube.api_errors import AlreadyExistsError, ConflictError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import PODS, Kind, KubeObject, Selection

RUN_LABEL = "app.kubernetes.io/instance"
_MAKER_LABEL, _MAKER = "app.kubernetes.io/managed-by", "dapr-run"
_GONE_SECONDS = 30.0
_PODS_GONE_SECONDS = 45.0  # a pod has 30 s of grace
_LOOK_SECONDS = 0.25
_KINDS = {"Deployment": DEPLOYMENTS, "Service": SERVICES}


class RunObjects:
    """What one run has in the cluster, marked with ``run_id``. Methods raise ``KubeError``."""

    def __init__(self, client: KubeClient, run_id: str, console: Console) -> None:
        self._client = client
        self._run_id = run_id
        self._console = console
        self._making: set[asyncio.Task[KubeObject]] = set()

    @property
    def labels(self) -> str:
        """The selector of everything of this run, pods as well."""
        return f"{RUN_LABEL}={self._run_id}"

    async def refuse_strangers(self, app_ids: Iterable[str]) -> None:
        """Raises ``CliError`` when an app's name is taken by an object no run has made."""
        for word, kind, name in _named(app_ids):
            found = await _find(self._client, kind, name)
            if found is not None and not _is_of_a_run(found):
                raise CliError(
                    f"there is a {word} {name} in namespace {NAMESPACE} that 'dapr run -k' did "
                    "not make: it is left as it is, and nothing is started",
                    f"Give the app another appID, or delete it: 'kubectl delete {word.lower()} "
                    f"{name} -n {NAMESPACE}'.",
                )

    async def clear(self, app_ids: Iterable[str]) -> None:
        """Delete what an earlier run has left. Raises ``CliError`` when it does not go."""
        for word, kind, name in _named(app_ids):
            found = await _find(self._client, kind, name)
            if found is None or not _is_of_a_run(found):
                continue
            self._console.warning(
                f"Taking over the {word} {name}, which another 'dapr run -k' made at "
                f"{found['metadata']['creationTimestamp']}"
            )
            await _delete(self._client, kind, found)
            await _wait_gone(self._client, word, kind, found)

    async def make(self, body: KubeObject) -> None:
        """Make one. Raises ``CliError`` when its name was taken meanwhile."""
        kind, name = _KINDS[body["kind"]], body["metadata"]["name"]
        task = asyncio.ensure_future(
            self._client.create(kind, marked(body, self._run_id), NAMESPACE)
        )
        # A request under way is not given up: what it makes could be there and not be deleted.
        self._making.add(task)
        task.add_done_callback(self._making.discard)
        try:
            await asyncio.shield(task)
        except AlreadyExistsError as error:
            raise CliError(
                f"the {body['kind']} {name} was made by somebody else at the same moment",
                "Start again when it is gone.",
            ) from error

    async def remove(self) -> list[str]:
        """Delete everything of this run; why something could not be."""
        if self._making:
            await asyncio.wait(self._making)
        results = await asyncio.gather(
            *(self._remove(kind) for kind in _KINDS.values()), return_exceptions=True
        )
        return [str(result) for result in results if isinstance(result, BaseException)]

    async def pods_gone(self) -> bool:
        """Wait until no pod of the run is left, or for a long while; whether none is."""
        return await _pods_gone(self._client, [self.labels])

    async def _remove(self, kind: Kind) -> None:
        found = await self._client.list_all(Selection(kind, NAMESPACE, labels=self.labels))
        await asyncio.gather(*(_delete(self._client, kind, body) for body in found.items))


@dataclass(frozen=True, slots=True)
class Stopped:
    """What became of the apps that were to be stopped."""

    apps: tuple[str, ...]
    strangers: tuple[str, ...]
    """Those whose Deployment no run has made: it is still there."""
    ended: bool
    """Whether their pods are gone, too."""


async def stop_apps(client: KubeClient, app_ids: Iterable[str]) -> Stopped:
    """Delete what runs have made for apps, and wait for the end of the pods."""
    apps: dict[str, None] = {}
    strangers, runs = [], set()
    for word, kind, name in _named(app_ids):
        found = await _find(client, kind, name)
        if found is not None and _is_of_a_run(found):
            await _delete(client, kind, found)
            runs.add(f"{RUN_LABEL}={found['metadata']['labels'][RUN_LABEL]},{APP_LABEL}={name}")
            apps[name] = None
        elif found is not None and word == "Deployment":
            strangers.append(name)
    return Stopped(tuple(apps), tuple(strangers), await _pods_gone(client, runs))


def marked(body: KubeObject, run_id: str) -> KubeObject:
    """The object with the marks by which a run knows its own, on its pods as well."""
    metadata, spec = body["metadata"], body["spec"]
    labels = {**metadata["labels"], _MAKER_LABEL: _MAKER, RUN_LABEL: run_id}
    if template := spec.get("template"):
        own = template["metadata"]
        own = {**own, "labels": {**own["labels"], RUN_LABEL: run_id}}
        spec = {**spec, "template": {**template, "metadata": own}}
    return {**body, "metadata": {**metadata, "labels": labels}, "spec": spec}


def _named(app_ids: Iterable[str]) -> Iterator[tuple[str, Kind, str]]:
    for app_id in app_ids:
        for word, kind in _KINDS.items():
            yield word, kind, app_id


async def _find(client: KubeClient, kind: Kind, name: str) -> KubeObject | None:
    try:
        return await client.get(kind, name, NAMESPACE)
    except NotFoundError:
        return None


async def _uid(client: KubeClient, kind: Kind, name: str) -> str:
    found = await _find(client, kind, name)
    return "" if found is None else str(found["metadata"]["uid"])


def _is_of_a_run(body: KubeObject) -> bool:
    labels = body["metadata"].get("labels") or {}
    return labels.get(_MAKER_LABEL) == _MAKER and RUN_LABEL in labels


async def _delete(client: KubeClient, kind: Kind, body: KubeObject) -> None:
    metadata = body["metadata"]
    with suppress(NotFoundError, ConflictError):  # another one by now: not ours to delete
        await client.delete(kind, metadata["name"], NAMESPACE, uid=metadata["uid"])


async def _wait_gone(client: KubeClient, word: str, kind: Kind, body: KubeObject) -> None:
    name, uid = body["metadata"]["name"], body["metadata"]["uid"]
    try:
        async with asyncio.timeout(_GONE_SECONDS):
            while await _uid(client, kind, name) == uid:  # noqa: ASYNC110 - seldom, and soon over
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError as error:
        raise CliError(
            f"the {word} {name} of an earlier run is still there {_GONE_SECONDS:g} s after it was "
            "deleted",
            f"'kubectl describe {word.lower()} {name} -n {NAMESPACE}' says what holds it.",
        ) from error


async def _pods_gone(client: KubeClient, selectors: Iterable[str]) -> bool:
    try:
        async with asyncio.timeout(_PODS_GONE_SECONDS):
            for labels in selectors:
                pods = Selection(PODS, NAMESPACE, labels=labels)
                while (await client.list_all(pods)).items:  # noqa: ASYNC110 - ends soon
                    await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        return False
    return True
