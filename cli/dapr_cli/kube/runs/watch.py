"""Follows the pods and Deployments of a run: their logs, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

from dapr_cli.console import Console
from dapr_cli.kube.kinds import DEPLOYMENTS
from dapr_cli.kube.pods import SIDECAR
from dapr_cli.kube.runs.logs import ContainerLog
from dapr_cli.kube.runs.manifests import NAMESPACE
from dapr_cli.kube.runs.pods import RunPod, deployment_failure, why_late
from dapr_cli.output import Output
from dapr_common.kube.client import KubeClient
from dapr_common.kube.informer import Change, Informer
from dapr_common.kube.kinds import PODS, Selection
from dapr_common.kube.login import Login

_LAST_WORDS_SECONDS = 2.0


class RunWatch:
    """Use it as ``async with``; ``labels`` select what belongs to the run.

    ``outputs``: by app id and container, where its lines go.
    """

    def __init__(
        self,
        client: KubeClient,
        login: Login,
        labels: str,
        outputs: Mapping[tuple[str, str], Output],
        console: Console,
    ) -> None:
        self.changed = asyncio.Event()
        """Set whenever something has changed; whoever waits for it clears it."""
        self.is_reporting = False
        """Whether restarts and ends are said: not before everything is up, nor after the end."""
        self._login = login
        self._outputs = outputs
        self._console = console
        self._pods = Informer(client, Selection(PODS, NAMESPACE, labels=labels), RunPod.of)
        self._deployments = Informer(
            client, Selection(DEPLOYMENTS, NAMESPACE, labels=labels), deployment_failure
        )
        self._pods.on_change(self._pod_changed)
        self._deployments.on_change(self._deployment_changed)
        self._tasks: list[asyncio.Task[None]] = []
        self._logs: set[asyncio.Task[None]] = set()
        self._followed: set[tuple[str, str]] = set()
        self._ended: set[str] = set()
        self._seen: set[str] = set()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(each.run()) for each in (self._pods, self._deployments)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self._logs:
            await asyncio.wait(self._logs, timeout=_LAST_WORDS_SECONDS)
        tasks = [*self._tasks, *self._logs]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def late(self, app_ids: Iterable[str]) -> dict[str, str]:
        """Apps without a ready pod, and why."""
        pods = list(self._pods.objects.values())
        ready = {pod.app_id for pod in pods if pod.is_ready} & self.deployed()
        return {
            app_id: why_late(app_id, pods, self._deployments.get(app_id, NAMESPACE) or "")
            for app_id in app_ids
            if app_id not in ready
        }

    def deployed(self) -> set[str]:
        """The apps whose Deployments are there."""
        return {name for _, name in self._deployments.objects}

    def lost(self) -> list[str]:
        """The apps whose Deployments were there and are not."""
        return sorted(self._seen - self.deployed())

    # --- what changes -----------------------------------------------------------------------

    def _deployment_changed(self, change: Change[str]) -> None:
        self.changed.set()
        self._seen.add(change.key[1])
        if change.after is None and self.is_reporting:
            self._console.warning(f"The Deployment {change.key[1]} was deleted in the cluster")

    def _pod_changed(self, change: Change[RunPod]) -> None:
        self.changed.set()
        if change.after is not None:
            self._follow(change.after)
        if self.is_reporting:
            self._report(change.before, change.after)

    def _follow(self, pod: RunPod) -> None:
        for container in pod.containers:
            output = self._outputs.get((pod.app_id, container))
            if output is None or (pod.uid, container) in self._followed:
                continue
            self._followed.add((pod.uid, container))
            task = asyncio.create_task(self._pass_on(pod, container, output))
            self._logs.add(task)
            task.add_done_callback(self._logs.discard)

    async def _pass_on(self, pod: RunPod, container: str, output: Output) -> None:
        def is_over() -> bool:
            now = self._pods.get(pod.name, NAMESPACE)
            return now is None or now.uid != pod.uid or now.is_over

        log = ContainerLog(self._login, pod.name, container, output.write)
        try:
            await log.follow(is_over)
        except OSError as error:
            self._console.failure(
                f"The log of {container} in {pod.name} is not passed on any more: {error}"
            )

    def _report(self, before: RunPod | None, after: RunPod | None) -> None:
        if before is None:
            return
        if after is None or after.uid != before.uid:
            if before.app_id in self.deployed() and before.uid not in self._ended:
                self._ended.add(before.uid)
                self._console.warning(
                    f"The pod {before.name} of {before.app_id} is gone, another one takes its place"
                )
            return
        for container, count in after.restarts.items():
            if count > before.restarts.get(container, 0):
                self._console.failure(
                    f"{title(after.app_id, container)} "
                    f"{after.last_ends.get(container) or 'ended'} and was started again"
                )
        if after.is_over and after.uid not in self._ended:
            self._ended.add(after.uid)
            self._console.failure(f"{after.app_id}: {after.reason}")


def title(app_id: str, container: str) -> str:
    """A container at the beginning of a sentence."""
    return f"The sidecar of {app_id}" if container == SIDECAR else f"The app {app_id}"
