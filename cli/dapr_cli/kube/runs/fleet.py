"""``dapr run -k -f``: the apps of a run file on the cluster, until a signal comes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import yaml

from dapr_cli import output
from dapr_cli.console import Console
from dapr_cli.errors import CliError
from dapr_cli.kube.cluster import UserClient
from dapr_cli.kube.pods import SIDECAR
from dapr_cli.kube.runs import manifests
from dapr_cli.kube.runs.manifests import CONFIGURATION, NAMESPACE
from dapr_cli.kube.runs.objects import RunObjects
from dapr_cli.kube.runs.watch import RunWatch, title
from dapr_cli.output import Output
from dapr_cli.settings import RunSettings
from dapr_cli.stop_signals import StopSignals
from dapr_common.kube.api_errors import KubeError
from dapr_common.kube.kinds import CONFIGURATIONS, KubeObject, Selection

READY_SECONDS = 60.0
_HURRIED_SECONDS = 5.0


async def run_on_cluster(
    client: UserClient,
    apps: Sequence[RunSettings],
    console: Console,
    *,
    ready_seconds: float = READY_SECONDS,
) -> int:
    """Run the apps, each of which was checked; the exit code.

    Raises ``CliError`` and ``KubeError``; nothing of them is left in the cluster then, either.
    """
    fleet = ClusterFleet(client, apps, console)
    with StopSignals() as signals:
        try:
            if await signals.unless_stopped(fleet.start(ready_seconds)):
                console.success(
                    "You're up and running! The apps' lines appear here, Ctrl-C deletes everything."
                )
                await signals.unless_stopped(fleet.all_deleted())
        finally:
            is_clean = await fleet.stop(signals.hurry)
    return 0 if is_clean else 1


class ClusterFleet:
    """The apps of a run file on the cluster. One that ends is reported; the others go on."""

    def __init__(self, client: UserClient, apps: Sequence[RunSettings], console: Console) -> None:
        self._client = client
        self._apps = apps
        self._console = console
        self._ids = [app.app_id for app in apps]
        self._objects = RunObjects(client, f"run-{secrets.token_hex(4)}", console)
        stamp = output.log_stamp(datetime.now(UTC).astimezone())
        self._outputs: dict[tuple[str, str], Output] = {}
        for number, app in enumerate(apps):
            own, sidecar = output.of_app(app, number, stamp)
            self._outputs |= {(app.app_id, app.app_id): own, (app.app_id, SIDECAR): sidecar}
        self._watch = RunWatch(client, client.login, self._objects.labels, self._outputs, console)
        self._stack = AsyncExitStack()
        self._has_begun = False

    async def start(self, ready_seconds: float) -> None:
        """Make everything and wait until it is ready. Raises ``CliError`` and ``KubeError``."""
        configured = await self._is_configured()
        bodies = [_written(app, configured=configured) for app in self._apps]
        await self._objects.refuse_strangers(self._ids)
        await self._objects.clear(self._ids)
        self._begin_outputs()
        await self._stack.enter_async_context(self._watch)
        self._has_begun = True
        for app, objects in zip(self._apps, bodies, strict=True):
            self._console.info(f"Deploying {app.app_id} to namespace {NAMESPACE}")
            for body in objects:
                await self._objects.make(body)
        try:
            async with asyncio.timeout(ready_seconds):
                await self._all_ready()
        except TimeoutError as error:
            late = self._watch.late(self._ids)
            told = "\n".join(f"{app_id}: {reason}" for app_id, reason in late.items())
            raise CliError(
                f"not ready after {ready_seconds:g} s:\n{told}",
                "Its log files above may say more." if self._files() else "",
            ) from error
        self._watch.is_reporting = True

    async def all_deleted(self) -> None:
        """Wait until somebody else has deleted every Deployment of the run."""
        while self._watch.deployed():
            self._watch.changed.clear()
            await self._watch.changed.wait()
        self._console.info("Nothing of this run is left in the cluster: it ends")

    async def stop(self, hurry: asyncio.Event) -> bool:
        """Delete everything; ``hurry`` does not wait for the pods. Whether nothing was left."""
        self._watch.is_reporting = False
        problems: list[str] = []
        if self._has_begun:
            self._console.info("Deleting the apps from the cluster; another signal does not wait")
            problems = await self._removed(hurry)
        await self._stack.aclose()
        for each in self._outputs.values():
            await each.close()
        for problem in problems:
            self._console.failure(f"Not everything could be deleted: {problem}")
        if problems:
            self._console.hint("'dapr stop -k -f FILE' deletes what is left.")
        elif self._has_begun:
            self._console.success("Everything is deleted")
        return not problems

    # --- parts ------------------------------------------------------------------------------

    async def _is_configured(self) -> bool:
        # A list, because a cluster without Dapr is an error then, and not "there is none".
        named = Selection(CONFIGURATIONS, NAMESPACE, fields=f"metadata.name={CONFIGURATION}")
        return bool((await self._client.list_all(named)).items)

    def _begin_outputs(self) -> None:
        for (app_id, container), each in self._outputs.items():
            try:
                each.begin()
            except OSError as error:
                raise CliError(f"the log file {each.file} cannot be written: {error}") from error
            if each.file is not None:
                self._console.info(f"{title(app_id, container)} writes to {each.file}")

    async def _all_ready(self) -> None:
        said: set[tuple[str, str]] = set()
        while True:
            self._watch.changed.clear()
            if lost := self._watch.lost():
                raise CliError(f"the Deployment {lost[0]} was deleted before it was ready")
            late = self._watch.late(self._ids)
            for app_id in self._ids:
                reason = late.get(app_id, "")
                if (app_id, reason) in said:
                    continue  # one that crashes comes by the same states again and again
                said.add((app_id, reason))
                if reason:
                    self._console.pending(f"{app_id}: {reason}")
                else:
                    self._console.success(f"{app_id} is ready")
            if not late:
                return
            await self._watch.changed.wait()

    async def _removed(self, hurry: asyncio.Event) -> list[str]:
        """Why something was not deleted, if so."""
        hurried = asyncio.create_task(hurry.wait())
        removal = asyncio.create_task(self._objects.remove())
        ending = None
        try:
            await asyncio.wait({removal, hurried}, return_when="FIRST_COMPLETED")
            await asyncio.wait({removal}, timeout=_HURRIED_SECONDS)
            if not removal.done():
                return ["the cluster does not answer"]
            if problems := removal.result():
                return problems
            ending = asyncio.create_task(self._objects.pods_gone())
            await asyncio.wait({ending, hurried}, return_when="FIRST_COMPLETED")
            if ending.done() and not _result(ending):
                self._console.warning("Some pods have not ended yet; the cluster will end them")
            return []
        finally:
            tasks = [task for task in (hurried, removal, ending) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _files(self) -> bool:
        return any(each.file is not None for each in self._outputs.values())


def _result(ending: asyncio.Task[bool]) -> bool:
    try:
        return ending.result()
    except KubeError:
        return False


def _written(app: RunSettings, *, configured: bool) -> list[KubeObject]:
    """What is to be made for an app, after it was written to its folder. Raises ``CliError``."""
    assert app.app_dir is not None, "a run file names it"
    folder = app.app_dir / ".dapr" / "deploy"
    bodies = {
        "deployment.yaml": manifests.deployment(app, configured=configured),
        "service.yaml": manifests.service(app),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, body in bodies.items():
            if body is None:
                (folder / name).unlink(missing_ok=True)  # of an earlier run
            else:
                (folder / name).write_text(_yaml(body), encoding="utf-8")
    except OSError as error:
        raise CliError(f"{folder} cannot be written: {error}") from error
    return [body for body in bodies.values() if body is not None]


def _yaml(body: Any) -> str:
    text: str = yaml.safe_dump(body, sort_keys=False, allow_unicode=True)
    return text
