"""The cluster's nodes: what they run, and which images they have."""

from __future__ import annotations

from dataclasses import dataclass

from dapr_cli.kube.kinds import NODES
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import KubeObject, Selection


@dataclass(frozen=True, slots=True)
class Node:
    """One node as it reports itself, the images some half a minute late."""

    name: str
    os: str
    architecture: str
    images: frozenset[str]
    """Names of the fifty largest."""


async def nodes(client: KubeClient) -> list[Node]:
    """All of them. Raises ``KubeError``."""
    return [node(body) for body in (await client.list_all(Selection(NODES))).items]


def node(body: KubeObject) -> Node:
    """What an object says of itself."""
    status = body.get("status") or {}
    info = status.get("nodeInfo") or {}
    return Node(
        str(body["metadata"]["name"]),
        str(info.get("operatingSystem") or ""),
        str(info.get("architecture") or ""),
        frozenset(
            str(name) for image in status.get("images") or () for name in image.get("names") or ()
        ),
    )
