"""Where secrets are in a Vault: the paths of its two kinds of KV engine, and what they answer."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class KvEngine:
    """A KV engine at ``mount``; secrets have names below ``folder``. Paths begin after ``/v1/``."""

    mount: str
    version: int
    folder: str

    def secret(self, name: str, version_id: str) -> str:
        """The path to read a secret. Raises ``ValueError`` for what can be no name or version."""
        query = ""
        if version_id:
            if self.version == 1:
                raise ValueError(
                    f"metadata 'version_id': '{version_id}': the engine at '{self.mount}' is of "
                    "version 1 and keeps no versions"
                )
            if not (version_id.isascii() and version_id.isdigit()):
                raise ValueError(f"metadata 'version_id': '{version_id}': expected a whole number")
            query = f"?version={version_id}"
        return self._path("data", _checked(name)) + query

    def listing(self, below: str = "") -> str:
        """The path to list a folder; ``below`` ends in a slash, as a listing names folders."""
        return self._path("metadata", below.rstrip("/")) + "?list=true"

    def values(self, data: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """A secret's keys and values in an answer; ``None`` for a version that was deleted."""
        found = data.get("data") if self.version == 2 else data
        return found if isinstance(found, dict) else None

    def _path(self, kind: str, name: str) -> str:
        parts = (self.mount, kind if self.version == 2 else "", self.folder, name)
        return urllib.parse.quote("/".join(part for part in parts if part))


def _checked(name: str) -> str:
    """Refuse names that lead to another place, or to one that has a name already."""
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(
            f"'{name}' is no name of a secret: expected parts with one slash between, "
            "none of them . or .."
        )
    return name
