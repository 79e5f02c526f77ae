"""Components that users bring, made as a sidecar makes them: from manifests, by the finder."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.programs import Program

from dapr_common.kube.resources import Component as Manifest
from dapr_common.kube.resources import NameValue
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.finding import ComponentFinder
from dapr_sidecar.components.metadata import decode_settings

STATE = ("StateStore", "TransactionalStateStore", "QueriableStateStore")
EVERYTHING = (*STATE, "PubSub", "InputBinding", "OutputBinding", "SecretStore")
_BRIDGE = Path(__file__).with_name("pluggable_bridge.py")
EXAMPLES = Path(__file__).parents[2] / "examples" / "02-your-own-components"
# What the suites' table finds behind a socket: services, and the bridge's flags.
OFFERED: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "conformance": (tuple(name for name in EVERYTHING if name != STATE[-1]), ("v1",)),
    "queries": (STATE, ()),
    "plain": (STATE[:1], ("one-by-one",)),
}


class PluggableProcess(Program):
    """The bridge on one socket; ``folder`` may hold others' as well."""

    def __init__(
        self,
        name: str,
        folder: Path,
        services: Sequence[str] = EVERYTHING,
        flags: Sequence[str] = (),
    ) -> None:
        self.socket = folder / f"{name}.sock"
        command = [sys.executable, str(_BRIDGE), str(self.socket), ",".join(services)]
        super().__init__([*command, ",".join(flags)], name=f"pluggable {name}")

    def is_ready(self) -> bool:
        """Whether it serves."""
        return "serving" in self.stdout_lines

    def kill_hard(self) -> None:
        """As ``kill -9`` does: no goodbye, and the socket's file stays."""
        self.exit_code = None
        self.process.kill()
        self.process.wait()

    def follow(self, component: Any, name: str) -> None:
        """Have ``subscribe`` return once this process has begun: the protocol does not tell."""
        subscribe = component.subscribe

        async def subscribe_and_wait(topic: str, *arguments: Any) -> Any:
            line = f"subscribed {name} {topic}"
            seen = self.stdout_lines.count(line)
            found = await subscribe(topic, *arguments)
            await asyncio.to_thread(self.wait_lines, lambda one: one == line, seen + 1)
            return found

        component.subscribe = subscribe_and_wait


@contextmanager
def sockets_folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="sockets-") as folder:
        yield Path(folder)


async def make(type_name: str, version: str, properties: Mapping[str, str], name: str) -> Any:
    """A component that is not open. ``socketsFolder`` and ``pythonFolder`` are for the finder."""
    given = {
        key: value
        for key, value in properties.items()
        if key not in ("socketsFolder", "pythonFolder")
    }
    finder = ComponentFinder(
        sockets=_path(properties, "socketsFolder"),
        python_folders=[folder] if (folder := _path(properties, "pythonFolder")) else None,
    )
    entries = tuple(NameValue(key, value) for key, value in given.items())
    source = finder.source(Manifest(name, type_name, version, entries))
    kind = await source.kind({key.lower(): value for key, value in given.items()})
    context = ComponentContext(name, "app", "", dict(given))
    return kind(decode_settings(kind.settings, given), context)


def _path(properties: Mapping[str, str], name: str) -> Path | None:
    return Path(properties[name]) if name in properties else None
