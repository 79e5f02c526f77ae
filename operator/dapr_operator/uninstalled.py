"""``python -m dapr_operator.uninstalled``: remove what the operator made, after it is gone.

The chart runs it when it is uninstalled. Only the ``<app id>-dapr`` Services are left by then: they
belong to the applications' workloads, which stay.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from dapr_common.aio.run import run
from dapr_common.kube.api_errors import NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import KubeObject, Selection
from dapr_common.kube.login import find_login
from dapr_common.observe import logs
from dapr_operator.annotations import APP_ID, ENABLED
from dapr_operator.kinds import SERVICES

_LOG = logs.get_logger("dapr.operator.uninstalled")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="dapr_operator.uninstalled", description=__doc__)
    parser.add_argument("--namespace", default="", help="this one only; empty is all")
    parser.add_argument("--kubeconfig", default="", help="outside a cluster")
    parsed = parser.parse_args(arguments)
    logs.setup("info", as_json=False, app_id="")
    return run(lambda: _remove(parsed.kubeconfig, parsed.namespace), _LOG)


async def _remove(kubeconfig: str, namespace: str) -> None:
    """Raises ``KubeError``: the exit code says that something is left."""
    async with KubeClient(find_login(kubeconfig)) as client:
        selection = Selection(SERVICES, namespace, labels=f"{ENABLED}=true")
        made = [body for body in (await client.list_all(selection)).items if is_made(body)]
        for body in made:
            metadata = body["metadata"]
            try:
                await client.delete(SERVICES, metadata["name"], metadata["namespace"])
            except NotFoundError:
                continue  # its workload went at the same time
            _LOG.info("Service %s/%s is removed", metadata["namespace"], metadata["name"])
    _LOG.info("%d Services were there", len(made))


def is_made(service: KubeObject) -> bool:
    """Whether a Service is one of the operator's: named by the app id, owned by a workload."""
    metadata = service["metadata"]
    app_id = (metadata.get("annotations") or {}).get(APP_ID)
    owned = any(owner.get("controller") for owner in metadata.get("ownerReferences") or ())
    return bool(app_id) and metadata["name"] == f"{app_id}-dapr" and owned


if __name__ == "__main__":
    sys.exit(main())
