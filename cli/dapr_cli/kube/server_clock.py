"""What time it is for the API server."""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime

import aiohttp

from dapr_common.kube.api_errors import UnreachableError
from dapr_common.kube.login import Login

_SECONDS = 10.0


async def server_time(login: Login) -> datetime | None:
    """By the date of an answer; ``None`` when it has none. Raises ``UnreachableError``."""
    what = "GET /version"
    headers = {"Authorization": f"Bearer {token}"} if (token := login.token()) else {}
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_SECONDS), headers=headers
            ) as session,
            session.get(
                f"{login.server}/version",
                ssl=login.tls if login.tls is not None else True,
                server_hostname=login.server_name,
                allow_redirects=False,
            ) as response,
        ):
            date = response.headers.get("Date", "")
    except TimeoutError as error:
        raise UnreachableError(f"{what}: nothing came within {_SECONDS:g}s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise UnreachableError(f"{what}: {error}") from error
    try:
        return parsedate_to_datetime(date)
    except ValueError:
        return None
