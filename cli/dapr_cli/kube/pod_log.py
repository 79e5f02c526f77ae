"""The log of a container, passed on as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from urllib.parse import urlencode

import aiohttp

from dapr_common.kube.api_errors import UnreachableError, api_error
from dapr_common.kube.kinds import PODS
from dapr_common.kube.login import Login

_CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 60.0


async def pod_log(
    login: Login,
    namespace: str,
    pod: str,
    container: str,
    *,
    lines: int = 0,
    follow: bool = False,
    since: str = "",
) -> AsyncGenerator[bytes, None]:
    """What the container has written so far, all or the last lines. Raises ``KubeError``.

    ``follow`` goes on until the container ends, or is silent for a minute, and puts the time
    before every line; ``since`` is the time, as RFC 3339 has it, of the first lines wanted.
    """
    path = PODS.object(pod, namespace, "log")
    what = f"GET {path}"
    query = {"container": container, **({"tailLines": str(lines)} if lines else {})}
    if follow:
        query |= {"follow": "true", "timestamps": "true"}
    if since:
        query["sinceTime"] = since
    headers = {"Authorization": f"Bearer {token}"} if (token := login.token()) else {}
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=_CONNECT_SECONDS, sock_read=_IDLE_SECONDS
    )
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.get(
                f"{login.server}{path}?{urlencode(query)}",
                ssl=login.tls if login.tls is not None else True,
                server_hostname=login.server_name,
                allow_redirects=False,
            ) as response,
        ):
            if response.status >= 400:
                raise api_error(response.status, await response.read(), what)
            async for chunk in response.content.iter_any():
                yield chunk
    except TimeoutError as error:
        raise UnreachableError(f"{what}: nothing came within {_IDLE_SECONDS:g}s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise UnreachableError(f"{what}: {error}") from error
