"""Names that stand in statements as they are."""

from __future__ import annotations

import re

from dapr_sidecar.components.metadata import SettingsError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?")


def table_name(field: str, name: str) -> str:
    """A table's name as it can stand in a statement. Raises ``SettingsError``."""
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"invalid metadata field '{field}': '{name}': expected letters, digits and _, "
            "with or without a schema before a dot"
        )
    return name
