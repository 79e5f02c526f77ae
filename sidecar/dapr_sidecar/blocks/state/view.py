"""One state store as one call sees it."""

from __future__ import annotations

from dapr_sidecar.blocks.state import errors
from dapr_sidecar.blocks.state.rules import SEPARATOR, StoreRules
from dapr_sidecar.components.state.base import StateStore
from dapr_sidecar.loaded import Loaded


class View:
    """A store and its rules. ``http`` selects the transport's wording of errors."""

    __slots__ = ("http", "name", "rules", "store")

    def __init__(self, name: str, loaded: Loaded[StateStore], http: bool) -> None:
        self.name = name
        self.store = loaded.component
        rules = loaded.extra
        assert isinstance(rules, StoreRules)
        self.rules = rules
        self.http = http

    def key(self, key: str, *, named: bool = True) -> str:
        """The stored form of a user's key. Raises ``DaprError``."""
        if SEPARATOR in key:
            raise errors.illegal_key(self.name, key, field=key if named else "", http=self.http)
        return self.rules.prefix + key
