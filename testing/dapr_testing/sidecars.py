"""Sidecars that know each other, and nobody else: the world of one test."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from dapr_testing.app import Handler, HttpApp
from dapr_testing.manifests import Manifest, component, manifest
from dapr_testing.sidecar import Sidecar, write_manifests


class Sidecars:
    """Starts sidecars, and stops them and their apps at the end, the last one first.

    They find each other through a file of their own: runs beside this one are not seen. Without
    ``components`` each has ``statestore`` and ``pubsub``, which all of them share.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._folder = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="dapr-testing-"))
        )
        self.started: list[Sidecar] = []

    def start(
        self,
        app_id: str = "app",
        *,
        app: Handler | int | None = None,
        components: Iterable[Manifest] | None = None,
        config: Mapping[str, Any] | None = None,
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> Sidecar:
        """A running sidecar. ``app`` is a function that answers requests, or the port of an app.

        ``components`` are manifests of any kind of resource (``component``, ``manifest``),
        ``config`` is the spec of a Configuration, ``flags`` are further ones of daprd. Raises
        ``SidecarError`` with the sidecar's log when it does not come up.
        """
        __tracebackhide__ = True
        if callable(app):
            app = self._stack.enter_context(HttpApp(app)).port
        wanted = self._embedded() if components is None else list(components)
        place = self._folder / str(len(self.started))
        write_manifests(place / "resources", wanted)
        names = {"connectionString": str(self._folder / "names.db")}
        spec = {
            "nameResolution": {"component": "sqlite", "version": "v1", "configuration": names},
            **(config or {}),
        }
        write_manifests(place / "config", [manifest("Configuration", "testing", spec)])
        own = [f"--resources-path={place / 'resources'}", f"--config={place / 'config'}"]
        own[1] += "/00-testing.yaml"
        if app is not None:
            own.append(f"--app-port={app}")
        sidecar = Sidecar(app_id, [*own, *flags], env=env)
        self._stack.callback(sidecar.stop)
        self.started.append(sidecar)
        return sidecar

    def stop(self) -> None:
        """End everything. May be called again."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _embedded(self) -> list[Manifest]:
        return [
            component(
                "statestore",
                "state.sqlite",
                connectionString=str(self._folder / "state.db"),
                actorStateStore=True,
            ),
            component("pubsub", "pubsub.sqlite", connectionString=str(self._folder / "pubsub.db")),
        ]
