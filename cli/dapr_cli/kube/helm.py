"""The program ``helm``, which installs the chart."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dapr_cli.errors import CliError

RELEASE = "dapr"
_SECONDS = 60.0
_GRACE_SECONDS = 30.0
_ERROR = "Error: "


class HelmError(CliError):
    """Helm failed; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release as ``helm list`` shows it."""

    namespace: str
    status: str
    chart_version: str

    @property
    def is_pending(self) -> bool:
        """Whether an operation has begun that nobody ended."""
        return self.status.startswith("pending")


@dataclass(frozen=True, slots=True)
class Helm:
    """``helm`` with the user's kubeconfig, which it finds as the CLI does."""

    program: str

    @classmethod
    def find(cls) -> Helm:
        """The program on ``PATH``. Raises ``CliError``."""
        if found := shutil.which("helm"):
            return cls(found)
        raise CliError(
            "the program helm is not on PATH: Dapr is installed into Kubernetes as a Helm chart",
            "Install Helm 3.8 or newer, see https://helm.sh/docs/intro/install",
        )

    async def release(self, name: str = RELEASE, namespace: str = "") -> Release | None:
        """Where and how a release is there, in any namespace when none is given."""
        scope = ["--namespace", namespace] if namespace else ["--all-namespaces"]
        states = ["--deployed", "--failed", "--pending", "--uninstalling"]
        text = await self.run("list", *scope, *states, "--filter", f"^{name}$", "--output", "json")
        for entry in json.loads(text):
            version = str(entry["chart"]).removeprefix(f"{RELEASE}-")
            return Release(str(entry["namespace"]), str(entry["status"]), version)
        return None

    async def values(self, namespace: str) -> dict[str, Any]:
        """What the release was given beyond the chart's defaults."""
        asked = ["get", "values", RELEASE, "--namespace", namespace, "--output", "json"]
        values = json.loads(await self.run(*asked))
        return values if isinstance(values, dict) else {}

    async def put(
        self,
        verb: Sequence[str],
        namespace: str,
        chart: str,
        values: Mapping[str, Any],
        flags: Sequence[str],
        seconds: float,
    ) -> None:
        """``install`` or ``upgrade``. Values go by its input: they may hold a private key."""
        given = ["--namespace", namespace, "--values", "-", "--timeout", f"{seconds:g}s", *flags]
        command = [*verb, RELEASE, chart, *given]
        await self.run(*command, given=json.dumps(values), seconds=seconds + _SECONDS)

    async def run(self, *arguments: str, given: str = "", seconds: float = _SECONDS) -> str:
        """Run it to its end and return what it printed. Raises ``HelmError``."""
        try:
            process = await asyncio.create_subprocess_exec(
                self.program, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE
            )
        except OSError as error:
            raise HelmError(f"{self.program} cannot be started: {error.strerror}") from error
        try:
            async with asyncio.timeout(seconds):
                out, err = await process.communicate(given.encode())
        except TimeoutError as error:
            raise HelmError(f"helm {arguments[0]} has not ended after {seconds:g} s") from error
        finally:
            await _end(process)
        if process.returncode:
            raise HelmError(f"helm {arguments[0]}: {_reason(err.decode(errors='replace'))}")
        return out.decode(errors="replace")


async def _end(process: Process) -> None:
    """After Ctrl-C or a timeout, let it write down how far it came before it has to go."""
    if process.returncode is not None:
        return
    process.terminate()
    for seconds in (_GRACE_SECONDS, 1.0):  # the second time for what holds its output
        try:
            async with asyncio.timeout(seconds):
                await process.wait()
                return
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def _reason(said: str) -> str:
    """The error among its warnings; all of it if there is none."""
    _, found, reason = said.strip().rpartition(f"\n{_ERROR}")
    return reason if found else said.strip().removeprefix(_ERROR)
