"""Which validators run: those of the mode, and those of the Configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dapr_common.security.spiffe import SpiffeId
from dapr_sentry.configuration import TokenValidator
from dapr_sentry.validators.base import Validator

if TYPE_CHECKING:
    from dapr_common.kube.client import KubeClient


@dataclass(frozen=True, slots=True)
class Selection:
    """Validators by the number requests name them by, and the one for requests that do not."""

    validators: Mapping[int, Validator]
    default: Validator | None

    async def open(self) -> None:
        """Open all, or none. Raises ``ValidatorError``."""
        try:
            for validator in self.validators.values():
                await validator.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close all; safe to call twice."""
        for validator in self.validators.values():
            await validator.close()

    @property
    def targets(self) -> list[str]:
        """Their readiness targets."""
        return [one.target for one in self.validators.values() if one.target]


def select(
    configured: tuple[TokenValidator, ...],
    sentry: SpiffeId,
    client: KubeClient | None,
    watch_namespace: str = "",
) -> Selection:
    """With a cluster's client its pods are validated; on a plain machine nobody is, by default.

    ``watch_namespace`` is the only one whose pods count; empty is all. Raises ``ValidatorError``.
    """
    found = [_configured(one, sentry) for one in configured]
    default: Validator | None = None
    if client is not None:
        from dapr_sentry.validators.kubernetes import KubernetesValidator

        default = KubernetesValidator(
            client,
            trust_domain=sentry.trust_domain,
            namespace=sentry.namespace,
            watch_namespace=watch_namespace,
        )
    elif not configured:
        from dapr_sentry.validators.insecure import InsecureValidator

        default = InsecureValidator()
    if default is not None:
        found.append(default)
    return Selection({one.kind: one for one in found}, default)


def _configured(entry: TokenValidator, sentry: SpiffeId) -> Validator:
    """The Configuration is checked: there is only one kind."""
    from dapr_sentry.validators.jwks import JwksOptions, JwksValidator

    options = JwksOptions.read(entry.options)
    return JwksValidator(options, trust_domain=sentry.trust_domain, namespace=sentry.namespace)
