"""What the injector asks the cluster for, and what it keeps at hand of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from dapr_common.kube.api_errors import KubeError, NotFoundError, UnreachableError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.informer import Change, Informer
from dapr_common.kube.kinds import (
    COMPONENTS,
    CONFIGURATIONS,
    SERVICE_ACCOUNTS,
    KubeObject,
    Selection,
)
from dapr_common.observe.logs import get_logger
from dapr_injector.admission import Candidate
from dapr_injector.callers import AccountPattern
from dapr_injector.injection import Facts

_LOG = get_logger("dapr.injector")
_CONFIGURATION = "daprsystem"
_START_SECONDS = 10.0
_COMPONENTS_SECONDS = 7.0  # the API server gives a webhook ten


class MtlsSetting:
    """``spec.mtls.enabled`` of the Configuration ``daprsystem``; true while nothing says so.

    Kept by a watch: a pod is not made slower, and gets the setting as it was last known while
    the API server is busy.
    """

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self.enabled = True
        self._client = client
        self._namespace = namespace
        selection = Selection(CONFIGURATIONS, namespace, fields=f"metadata.name={_CONFIGURATION}")
        self._informer = Informer(client, selection, _is_mtls_enabled)
        self._informer.on_change(self._changed)

    async def start(self) -> None:
        """Have the setting as it is now, if it can be had."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                found = await self._client.get(CONFIGURATIONS, _CONFIGURATION, self._namespace)
            self.enabled = _is_mtls_enabled(found)
        except NotFoundError:
            _LOG.warning(
                "There is no Configuration %s in namespace %s yet: sidecars use mTLS",
                _CONFIGURATION,
                self._namespace,
            )
        except (KubeError, TimeoutError, ValueError) as error:
            _LOG.warning(
                "Configuration %s cannot be read, sidecars use mTLS: %s", _CONFIGURATION, error
            )

    async def run(self) -> None:
        """Follow it until cancelled."""
        await self._informer.run()

    def _changed(self, change: Change[bool]) -> None:
        enabled = True if change.after is None else change.after
        if enabled != self.enabled:
            _LOG.info("mTLS is switched %s for sidecars from now on", "on" if enabled else "off")
        self.enabled = enabled


class Trust(Protocol):
    """Knows the trust anchors as they are now."""

    @property
    def anchors_pem(self) -> str: ...


class ClusterFacts:
    """What stands in ``Facts``. ``has_identity_token`` is of the injector itself."""

    def __init__(
        self, client: KubeClient, mtls: MtlsSetting, trust: Trust, *, has_identity_token: bool
    ) -> None:
        self._client = client
        self._mtls = mtls
        self._trust = trust
        self._has_identity_token = has_identity_token

    async def facts(self, candidate: Candidate) -> Facts:
        """What one pod's sidecar depends on. Raises ``KubeError``."""
        components: Sequence[KubeObject] = ()
        if candidate.needs_components:
            components = await self._components(candidate.review.namespace)
        return Facts(
            trust_anchors=self._trust.anchors_pem,
            mtls_enabled=self._mtls.enabled,
            has_identity_token=self._has_identity_token,
            components=components,
        )

    async def _components(self, namespace: str) -> Sequence[KubeObject]:
        selection = Selection(COMPONENTS, namespace)
        try:
            async with asyncio.timeout(_COMPONENTS_SECONDS):
                return (await self._client.list_all(selection)).items
        except TimeoutError as error:
            raise UnreachableError(
                f"list {selection}: no answer within {_COMPONENTS_SECONDS:g}s"
            ) from error


async def account_uids(client: KubeClient, accounts: Sequence[AccountPattern]) -> list[str]:
    """The UIDs of those accounts that are there. What cannot be looked up is said."""
    try:
        async with asyncio.timeout(_START_SECONDS):
            found = await asyncio.gather(*(_uid(client, account) for account in accounts))
    except (KubeError, TimeoutError) as error:
        _LOG.warning("UIDs of service accounts are not known, names count: %s", error)
        return []
    return [uid for uid in found if uid]


async def _uid(client: KubeClient, account: AccountPattern) -> str:
    try:
        found = await client.get(SERVICE_ACCOUNTS, account.name, account.namespace)
    except NotFoundError:
        return ""
    return str(found["metadata"].get("uid") or "")


def _is_mtls_enabled(body: KubeObject) -> bool:
    """Raises ``ValueError`` when somebody has put something else there."""
    mtls: Any = (body.get("spec") or {}).get("mtls") or {}
    enabled = mtls.get("enabled")
    if enabled is not None and not isinstance(enabled, bool):
        raise ValueError("spec.mtls.enabled must be true or false")
    return enabled is not False
