"""Two daprds that find each other through a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.raw_app import RawApp
from harness.sidecar import Sidecar


def names_in(folder: Path) -> dict[str, Any]:
    """A Configuration whose name resolution is a file of this folder."""
    return {
        "nameResolution": {
            "component": "sqlite",
            "version": "v1",
            "configuration": {"connectionString": str(folder / "names.db")},
        }
    }


@dataclass(frozen=True)
class Pair:
    """Two sidecars and the app both of them stand before."""

    front: Sidecar
    back: Sidecar
    app: RawApp

    def target(self, where: str) -> str:
        """The app id that is reached directly (``local``) or over the other sidecar."""
        return self.front.app_id if where == "local" else self.back.app_id

    def method(self, where: str, method: str) -> str:
        """The path of a call."""
        return f"/v1.0/invoke/{self.target(where)}/method/{method}"
