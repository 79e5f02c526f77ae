"""A lease under a key of etcd, by the JSON form of its v3 API."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from dapr_common.http.messages import Header
from dapr_common.lease import Record, ReplacedError, StoreError
from dapr_placement.locks.record import decoded, encoded
from dapr_placement.locks.servers import Servers, odd_answers, parsed, shown


class EtcdLease:
    """``credentials`` gives the user's name and password as they are now, or two empty texts."""

    def __init__(
        self, servers: Servers, key: str, credentials: Callable[[], tuple[str, str]]
    ) -> None:
        self._servers = servers
        self._key = key
        self._encoded_key = base64.b64encode(key.encode()).decode()
        self._credentials = credentials
        self._token = ""

    async def read(self) -> Record:
        """As a majority has it. Raises ``StoreError``."""
        found = await self._call("kv/range", {"key": self._encoded_key})
        with odd_answers("etcd"):
            entries = found.get("kvs") or []
            if not entries:
                return Record()
            return decoded(entries[0].get("value"), str(entries[0]["mod_revision"]), self._key)

    async def write(self, record: Record) -> Record:
        """Replace it. Raises ``StoreError``."""
        unchanged = {
            "key": self._encoded_key,
            "target": "MOD",
            "result": "EQUAL",
            "mod_revision": record.version or "0",
        }
        put = {"request_put": {"key": self._encoded_key, "value": encoded(record)}}
        answer = await self._call("kv/txn", {"compare": [unchanged], "success": [put]})
        with odd_answers("etcd"):
            if not answer.get("succeeded"):
                raise ReplacedError("etcd: the key has been written meanwhile")
            version = str(answer["header"]["revision"])
        return Record(holder=record.holder, life_seconds=record.life_seconds, version=version)

    async def close(self) -> None:
        """Close the connections."""
        await self._servers.close()

    async def _call(self, method: str, body: Any) -> Any:
        name, password = self._credentials()
        if not name:
            return await self._post(method, body, [])
        if self._token:
            try:
                return await self._post(method, body, self._authorization())
            except StoreError:
                self._token = ""  # it runs out; whatever it was, a new one is asked for
        found = await self._post("auth/authenticate", {"name": name, "password": password}, [])
        with odd_answers("etcd"):
            self._token = str(found["token"])
        return await self._post(method, body, self._authorization())

    def _authorization(self) -> list[Header]:
        return [(b"Authorization", self._token.encode())]

    async def _post(self, method: str, body: Any, headers: list[Header]) -> Any:
        status, text = await self._servers.request("POST", f"/v3/{method}", headers, body)
        if status != 200:
            raise StoreError(f"etcd: {shown(status, text)}")
        return parsed(text)
