"""Sentry's Configuration in the cluster: the object ``daprsystem`` of its own namespace."""

from __future__ import annotations

from dapr_common.kube.api_errors import KubeError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import CONFIGURATIONS
from dapr_sentry.configuration import Configuration, ConfigurationError, from_spec


async def load_object(client: KubeClient, name: str, namespace: str) -> Configuration:
    """The Configuration of that name. Raises ``ConfigurationError``."""
    where = f"Configuration {name} in namespace {namespace}"
    try:
        body = await client.get(CONFIGURATIONS, name, namespace)
    except NotFoundError as error:
        raise ConfigurationError(
            f"error loading configuration: {where} is not there: the Helm chart makes "
            f"it, or name another with --config: {error}"
        ) from error
    except KubeError as error:
        raise ConfigurationError(
            f"error loading configuration: {where} cannot be read: {error}"
        ) from error
    return from_spec(body.get("spec"), where)
