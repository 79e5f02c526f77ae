"""Dapr's kinds in a cluster: made known, brought up to date, removed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from dapr_cli.errors import CliError
from dapr_cli.kube import shipped
from dapr_cli.kube.kinds import DEFINITIONS
from dapr_common.kube.api_errors import NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import KubeObject

_MANAGER = "dapr-cli"
_SECONDS, _PAUSE_SECONDS = 30.0, 0.1


async def apply(client: KubeClient, namespace: str, chart: Path | None = None) -> int:
    """Bring every kind to this CLI's version and wait until it is served; how many there are.

    ``chart``: the folder of another one than comes with this CLI.
    Helm installs definitions once and never again, so they are applied beside it.
    """
    names = []
    for body in shipped.definitions(namespace, chart):
        name = body["metadata"]["name"]
        await client.patch(DEFINITIONS, name, body, patch_kind="apply", field_manager=_MANAGER)
        names.append(name)
    try:
        async with asyncio.timeout(_SECONDS):
            for name in names:
                await _established(client, name)
    except TimeoutError as error:
        raise CliError(
            f"the cluster does not serve Dapr's kinds after {_SECONDS:g} s",
            "'kubectl describe crd' says in the conditions what stands in the way.",
        ) from error
    return len(names)


async def remove(client: KubeClient, namespace: str) -> list[str]:
    """Remove every kind, and with it all its objects; the names of those that were there."""
    removed = []
    for body in shipped.definitions(namespace):
        try:
            await client.delete(DEFINITIONS, body["metadata"]["name"])
        except NotFoundError:
            continue
        removed.append(body["metadata"]["name"])
    return removed


async def _established(client: KubeClient, name: str) -> None:
    while True:
        if is_established(await client.get(DEFINITIONS, name)):
            return
        await asyncio.sleep(_PAUSE_SECONDS)


def is_established(body: KubeObject) -> bool:
    """Whether the cluster serves a kind."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
