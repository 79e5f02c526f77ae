"""Manifest metadata → final values: references resolved, templates expanded."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping

from dapr_common.kube.resources import NameValue
from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.runtime.processor")

SecretLookup = Callable[[str, str], Awaitable[str | None]]
"""(secret name, key) → value; ``None`` when there is none (already logged)."""


class TemplateError(ValueError):
    """A template cannot be expanded; an init failure."""


class ValueResolver:
    """Expands values for one sidecar."""

    def __init__(self, app_id: str, namespace: str, environment: Mapping[str, str]) -> None:
        self._app_id = app_id
        self._namespace = namespace
        self._environment = environment

    async def resolve(
        self, entries: tuple[NameValue, ...], lookup: SecretLookup | None
    ) -> dict[str, str]:
        """Values by lower-cased name; entries without a value are left out."""
        values: dict[str, str] = {}
        for entry in entries:
            text = await self._text(entry, lookup)
            if text is not None:
                values[entry.name.lower()] = self.expand(entry.name, text)
        return values

    async def _text(self, entry: NameValue, lookup: SecretLookup | None) -> str | None:
        if entry.secret_key_ref is not None and entry.value is None:
            reference = entry.secret_key_ref
            if lookup is None or not reference.name:
                return None
            return await lookup(reference.name, reference.key or reference.name)
        if entry.value is None and entry.env_ref:
            return self.environment_value(entry.env_ref)
        return entry.value

    def environment_value(self, name: str) -> str | None:
        """The value of an ``envRef``, or ``None`` when Dapr's rules forbid the name."""
        upper = name.upper()
        listed = self._environment.get("DAPR_ENV_KEYS", "").split()
        forbidden = upper in ("", "APP_API_TOKEN") or upper.startswith("DAPR_") or " " in upper
        if forbidden or (listed and upper not in listed):
            _LOG.warning("environment variable %s may not be used by resources", name)
            return None
        return self._environment.get(name, "")

    def expand(self, name: str, text: str) -> str:
        """Expand ``{uuid}``, ``{podName}``, ``{namespace}`` and ``{appID}``."""
        if "{" not in text:
            return text
        while "{uuid}" in text:
            text = text.replace("{uuid}", str(uuid.uuid4()), 1)
        if "{podName}" in text:
            if not (pod := self._environment.get("POD_NAME", "")):
                raise TemplateError(f"property {name} refers to {{podName}} but podName is not set")
            text = text.replace("{podName}", pod)
        namespace = self._namespace or "default"
        text = text.replace("{namespace}", f"{namespace}.{self._app_id}")
        return text.replace("{appID}", self._app_id)
