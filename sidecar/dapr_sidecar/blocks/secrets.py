"""What the secrets API means, for both transports, and how resources find their secrets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.outbound import measured
from dapr_sidecar.components.secretstores.base import SecretStore
from dapr_sidecar.context import SidecarContext

_LOG = get_logger("dapr.runtime.secrets")
_KIND = "Secretstore"
Spellings = Callable[[str], frozenset[str]]


@dataclass(frozen=True, slots=True)
class SecretScope:
    """The access policy of one store, from Configuration ``spec.secrets.scopes``."""

    default_deny: bool = False
    allowed: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> SecretScope:
        """Read one entry of the Configuration."""
        return cls(
            str(scope.get("defaultAccess") or "").lower() == "deny",
            frozenset(map(str, scope.get("allowedSecrets") or ())),
            frozenset(map(str, scope.get("deniedSecrets") or ())),
        )

    def allows(self, key: str, spellings: Spellings = lambda name: frozenset((name,))) -> bool:
        """Whether the secrets API may hand out a secret. A list of allowed ones decides alone.

        Allowed is a name as it is written; denied is a secret, whatever a store lets it be called.
        """
        if self.allowed:
            return key in self.allowed
        if self.default_deny:
            return False
        asked = spellings(key)
        return all(asked.isdisjoint(spellings(name)) for name in self.denied)


_OPEN = SecretScope()


class SecretsBlock:
    """Get and bulk get, limited by the access policy."""

    def __init__(self, context: SidecarContext) -> None:
        self.context = context
        self._configuration: Mapping[str, object] | None = None
        self._scopes: dict[str, SecretScope] = {}

    async def get(
        self, store_name: str, key: str, metadata: Mapping[str, str]
    ) -> dict[str, str] | None:
        """One secret; ``None`` when the store has no data for it. Raises ``DaprError``."""
        store = self._store(store_name)
        if not self._scope(store_name).allows(key, store.spellings):
            raise _denied(store_name, key)
        try:
            return await measured(
                self.context, "secret", _KIND, store_name, "get", lambda: store.get(key, metadata)
            )
        except DaprError:
            raise
        except Exception as error:
            raise DaprError(
                "ERR_SECRET_GET",
                f"failed getting secret with key {key} from secret store {store_name}: {error}",
            ) from error

    async def bulk_get(
        self, store_name: str, metadata: Mapping[str, str]
    ) -> dict[str, dict[str, str]] | None:
        """Every secret the policy allows. Raises ``DaprError``."""
        store = self._store(store_name)
        try:
            found = await measured(
                self.context,
                "secret",
                _KIND,
                store_name,
                "bulk_get",
                lambda: store.bulk_get(metadata),
            )
        except DaprError:
            raise
        except Exception as error:
            raise DaprError(
                "ERR_SECRET_GET", f"failed getting secrets from secret store {store_name}: {error}"
            ) from error
        if found is None:
            return None
        scope = self._scope(store_name)
        spellings = store.spellings
        return {name: values for name, values in found.items() if scope.allows(name, spellings)}

    def _store(self, name: str) -> SecretStore:
        stores = self.context.components.secret_stores
        loaded = stores.get(name)
        if loaded is not None:
            return loaded.component
        if not stores:
            raise DaprError(
                "ERR_SECRET_STORES_NOT_CONFIGURED",
                "secret store is not configured",
                grpc_code=GrpcCode.FAILED_PRECONDITION,
            )
        raise DaprError(
            "ERR_SECRET_STORE_NOT_FOUND",
            f"failed finding secret store with key {name}",
            http_status=401,
            grpc_code=GrpcCode.INVALID_ARGUMENT,
        )

    def _scope(self, store_name: str) -> SecretScope:
        configuration = self.context.configuration
        if configuration is not self._configuration:
            self._scopes = scopes_of(configuration)
            self._configuration = configuration
        return self._scopes.get(store_name, _OPEN)


def scopes_of(configuration: Mapping[str, object]) -> dict[str, SecretScope]:
    """The access policies of a Configuration's ``spec``, by store."""
    secrets = configuration.get("secrets")
    if not isinstance(secrets, Mapping):
        return {}
    return {
        str(scope.get("storeName")): SecretScope.of(scope) for scope in secrets.get("scopes") or ()
    }


class SecretResolver:
    """Finds the values of ``secretKeyRef`` in resources; the access policy has no say there."""

    def __init__(self, context: SidecarContext) -> None:
        self._context = context

    async def lookup(
        self, store_name: str, secret_name: str, key: str, namespace: str
    ) -> str | None:
        """One value; ``None`` when there is none or it cannot be had, which is logged."""
        loaded = self._context.components.secret_stores.get(store_name)
        if loaded is None:
            _LOG.warning("secret %s: secret store '%s' is not loaded", secret_name, store_name)
            return None
        try:
            found = await loaded.component.get(secret_name, {"namespace": namespace})
        except Exception as error:  # noqa: BLE001 - Dapr's rule: logged, the value stays unset
            _LOG.error("Error getting secret %s of %s: %s", secret_name, store_name, error)
            return None
        return (found or {}).get(key or secret_name) or None


def _denied(store_name: str, key: str) -> DaprError:
    shown, store = (json.dumps(text, ensure_ascii=False) for text in (key, store_name))
    return DaprError(
        "ERR_PERMISSION_DENIED",
        f"access denied by policy to get {shown} from {store}",
        http_status=403,
        grpc_code=GrpcCode.PERMISSION_DENIED,
    )
