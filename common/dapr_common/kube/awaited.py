"""Objects that must be there before a program can start, and may come after it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from dapr_common.kube.api_errors import KubeError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import CONFIGURATIONS

_LOOK_SECONDS = 1.0


async def control_plane_configuration(
    client: KubeClient, name: str, namespace: str, log: logging.Logger
) -> dict[str, Any]:
    """The Configuration of the control plane, waited for; ``log`` is told of what is in the way.

    Helm makes custom resources last, after the programs that read them.
    """
    said = ""
    while True:
        try:
            return await client.get(CONFIGURATIONS, name, namespace)
        except NotFoundError:
            why = "it does not exist: install it with the Helm chart, or name it with --config"
        except KubeError as error:
            why = str(error)
        if why != said:
            log.warning("Waiting for Configuration %s in namespace %s: %s", name, namespace, why)
        said = why
        await asyncio.sleep(_LOOK_SECONDS)
