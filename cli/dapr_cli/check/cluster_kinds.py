"""Dapr's kinds in a cluster: missing, or older than this CLI's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from dapr_cli.check.findings import Finding
from dapr_cli.kube import shipped
from dapr_cli.kube.definitions import is_established
from dapr_cli.kube.kinds import DEFINITIONS
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import Selection

_AREA = "kinds"
_MISSING = "'dapr init -k' makes Dapr's kinds known; 'dapr upgrade -k' if Dapr is installed."
_OLD = "'dapr upgrade -k' brings the kinds to this CLI's version."


async def check_kinds(client: KubeClient, namespace: str) -> AsyncIterator[Finding]:
    """Every CustomResourceDefinition that comes with this CLI, against the cluster's."""
    there = {
        one["metadata"]["name"]: one
        for one in (await client.list_all(Selection(DEFINITIONS))).items
    }
    for wanted in shipped.definitions(namespace):
        name = wanted["metadata"]["name"]
        if (found := there.get(name)) is None:
            yield Finding("error", _AREA, name, "is not known to the cluster", _MISSING)
        elif not is_established(found):
            fix = f"'kubectl describe crd {name}' says in its conditions what stands in the way."
            yield Finding("error", _AREA, name, "is not served by the cluster", fix)
        elif part := lacks(found["spec"]["versions"], wanted["spec"]["versions"], ""):
            yield Finding("warning", _AREA, name, f"is of another version: {part} differs", _OLD)


def lacks(found: Any, wanted: Any, path: str) -> str:
    """The first place where ``found`` has not what is wanted; it may have more."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            below = f"{path}.{key}" if path else str(key)
            if key not in found and not value and value is not False:
                continue  # the API server leaves empty things out
            if place := lacks(found.get(key), value, below):
                return place
        return ""
    if isinstance(wanted, list) and isinstance(found, list):
        if len(found) != len(wanted):
            return path or "the list of versions"
        places = (
            lacks(f, w, f"{path}[{i}]") for i, (f, w) in enumerate(zip(found, wanted, strict=True))
        )
        return next(filter(None, places), "")
    return "" if found == wanted else path
