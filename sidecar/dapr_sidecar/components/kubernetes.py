"""The cluster's API as components use it: who we are is found at once, the client made when needed.

Most pods never ask, and the client's library is large.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dapr_common.kube.login import Login, find_login

if TYPE_CHECKING:
    from dapr_common.kube.client import KubeClient


class ClusterAccess:
    """``kubeconfig`` is the path of a file; without one the environment's, or the pod's account."""

    def __init__(self, kubeconfig: str, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._kubeconfig = kubeconfig or self._environment.get("KUBECONFIG", "")
        self._login: Login | None = None
        self._client: KubeClient | None = None

    def open(self) -> None:
        """Find the way to log in. Raises ``LoginError``."""
        self._login = find_login(self._kubeconfig, self._environment)

    def client(self) -> KubeClient:
        """The client, the same one every time."""
        if self._client is None:
            from dapr_common.kube.client import KubeClient

            assert self._login is not None, "open comes first"
            self._client = KubeClient(self._login)
        return self._client

    async def close(self) -> None:
        """End every connection; safe to call twice."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
