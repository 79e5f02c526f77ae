"""A lease under a key of Consul; the token needs ``key:write`` for it, and nothing else.

A session of Consul's would do as well, but lives at least 10 s and ends up to 10 s late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from dapr_common.http.messages import Header
from dapr_common.lease import Record, ReplacedError, StoreError
from dapr_placement.locks.record import decoded, encoded
from dapr_placement.locks.servers import Servers, odd_answers, parsed, shown


class ConsulLease:
    """``token`` gives the ACL token as it is now, or nothing."""

    def __init__(self, servers: Servers, key: str, token: Callable[[], str]) -> None:
        self._servers = servers
        self._key = key
        self._token = token

    async def read(self) -> Record:
        """As Consul's leader has it. Raises ``StoreError``."""
        target = f"/v1/kv/{quote(self._key, safe='/')}?consistent"
        status, text = await self._servers.request("GET", target, self._headers())
        if status == 404:
            return Record()
        if status != 200:
            raise StoreError(f"Consul: {shown(status, text)}")
        with odd_answers("Consul"):
            entry = parsed(text)[0]
            return decoded(entry["Value"], str(entry["ModifyIndex"]), self._key)

    async def write(self, record: Record) -> Record:
        """Replace it. Raises ``StoreError``."""
        change = {
            "Verb": "cas",
            "Key": self._key,
            "Value": encoded(record),
            "Index": int(record.version or 0),
        }
        status, text = await self._servers.request(
            "PUT", "/v1/txn", self._headers(), [{"KV": change}]
        )
        if status == 409:
            raise ReplacedError(f"Consul: {shown(status, text)}")
        if status != 200:
            raise StoreError(f"Consul: {shown(status, text)}")
        return self._written(record, parsed(text))

    def _written(self, record: Record, answer: Any) -> Record:
        with odd_answers("Consul"):
            version = answer["Results"][0]["KV"]["ModifyIndex"]
        return Record(holder=record.holder, life_seconds=record.life_seconds, version=str(version))

    async def close(self) -> None:
        """Close the connections."""
        await self._servers.close()

    def _headers(self) -> list[Header]:
        token = self._token()
        return [(b"X-Consul-Token", token.encode())] if token else []
