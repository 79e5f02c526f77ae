"""What one container writes, line by line, however often the stream of its log breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from dapr_cli.kube.followed_log import FollowedLog
from dapr_cli.kube.runs.manifests import NAMESPACE
from dapr_common.kube.api_errors import KubeError, NotFoundError
from dapr_common.kube.login import Login

_PAUSE_SECONDS = 1.0


class ContainerLog:
    """The log of a container of a run."""

    def __init__(self, login: Login, pod: str, container: str, write: Callable[[bytes], None]):
        self._log = FollowedLog(login, NAMESPACE, pod, container)
        self._write = write

    async def follow(self, is_over: Callable[[], bool]) -> None:
        """Pass on until the pod is gone or over. Raises ``OSError`` when ``write`` cannot."""
        while True:
            over = is_over()  # a stream that is begun after the end has everything
            try:
                async with aclosing(self._log.stream()) as pieces:
                    async for piece in pieces:
                        self._write(piece.text)
            except NotFoundError:
                return
            except KubeError:  # not started yet, or its node cannot be asked: it may come
                pass
            if over:
                return
            await asyncio.sleep(_PAUSE_SECONDS)
