"""A small client of the Kubernetes API: any kind of object, as plain JSON, with deadlines."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self

import aiohttp
import orjson
from yarl import URL

from dapr_common import RUNTIME_VERSION
from dapr_common.kube.api_errors import UnreachableError, api_error, status_error
from dapr_common.kube.kinds import Kind, KubeObject, Selection
from dapr_common.kube.login import Login

PatchKind = Literal["merge", "json", "strategic-merge", "apply"]
EventKind = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]

_TIMEOUT = 30.0
_CONNECT_TIMEOUT = 10.0
_PAGE = 500
_WATCH_SECONDS = (300, 600)
_WATCH_GRACE = 15.0
_MOST_LINE_BYTES = 16 << 20
_JSON = "application/json"
_PATCHES: dict[str, str] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic-merge": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects as they were at one resource version."""

    items: tuple[KubeObject, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """A change of one object. ``BOOKMARK`` only carries a resource version."""

    kind: EventKind
    object: KubeObject
    resource_version: str
    """What to go on from after this event."""


class KubeClient:
    """Speaks for one login. Every call raises ``KubeError``; ``ApiError`` when it was refused.

    ``timeout`` bounds a call from its start to the last byte of the answer, in seconds. A watch
    has no such bound, but the server ends it after some minutes and a dead connection is noticed.
    """

    def __init__(self, login: Login, *, timeout: float = _TIMEOUT) -> None:
        self._login = login
        self._timeout = timeout
        self._open: aiohttp.ClientSession | None = None

    @property
    def namespace(self) -> str:
        """The namespace of the login."""
        return self._login.namespace

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End every connection; safe to call twice."""
        session, self._open = self._open, None
        if session is not None:
            await session.close()

    # --- objects ----------------------------------------------------------------------------

    async def get(self, kind: Kind, name: str, namespace: str = "") -> KubeObject:
        """One object."""
        return await self._call("GET", kind.object(name, namespace))

    async def list_all(self, selection: Selection) -> Listing:
        """Every object of a selection, fetched in pages."""
        path = selection.kind.collection(selection.namespace)
        query = {**_narrowing(selection), "limit": str(_PAGE)}
        items: list[KubeObject] = []
        while True:
            page = await self._call("GET", path, query=query)
            items += page.get("items") or ()
            metadata = page.get("metadata") or {}
            if not (rest := metadata.get("continue")):
                return Listing(tuple(items), str(metadata.get("resourceVersion") or ""))
            query["continue"] = rest

    async def create(
        self, kind: Kind, body: KubeObject, namespace: str = "", *, of: str = "", part: str = ""
    ) -> KubeObject:
        """A new object, or with ``of`` and ``part`` a subresource such as a token of an account."""
        path = kind.object(of, namespace, part) if of else kind.collection(namespace)
        return await self._call("POST", path, body=body)

    async def update(self, kind: Kind, body: KubeObject, *, part: str = "") -> KubeObject:
        """Replace an object; ``ConflictError`` when its resource version is not the newest."""
        metadata = body["metadata"]
        path = kind.object(metadata["name"], metadata.get("namespace") or "", part)
        return await self._call("PUT", path, body=body)

    async def patch(
        self,
        kind: Kind,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        patch_kind: PatchKind = "merge",
        part: str = "",
        field_manager: str = "",
    ) -> KubeObject:
        """Change an object. ``apply`` needs a ``field_manager`` and takes fields over by force."""
        query = {"fieldManager": field_manager} if field_manager else {}
        if patch_kind == "apply":
            query["force"] = "true"
        return await self._call(
            "PATCH",
            kind.object(name, namespace, part),
            body=patch,
            content_type=_PATCHES[patch_kind],
            query=query,
        )

    async def delete(self, kind: Kind, name: str, namespace: str = "", *, uid: str = "") -> None:
        """Delete an object with its kind's grace; ``ConflictError`` if its uid is another one."""
        body = {"preconditions": {"uid": uid}} if uid else None
        await self._call("DELETE", kind.object(name, namespace), body=body)

    async def watch(
        self, selection: Selection, resource_version: str
    ) -> AsyncGenerator[WatchEvent, None]:
        """What changes after a resource version, until the server ends the watch.

        ``ExpiredError`` when the version is too old: list again.
        """
        seconds = random.randint(*_WATCH_SECONDS)  # noqa: S311 - spreads load
        query = {
            **_narrowing(selection),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
        }
        path = selection.kind.collection(selection.namespace)
        timeout = aiohttp.ClientTimeout(total=seconds + _WATCH_GRACE, sock_connect=_CONNECT_TIMEOUT)
        what = f"watch {selection}"
        async with self._answer("GET", path, what, timeout, params=query) as response:
            if response.status >= 400:
                raise api_error(response.status, await response.read(), what)
            async with aclosing(_lines(response.content)) as lines:
                async for line in lines:
                    yield _event(line, what)

    # --- HTTP -------------------------------------------------------------------------------

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content_type: str = _JSON,
        query: Mapping[str, str] | None = None,
    ) -> KubeObject:
        what = f"{method} {path}"
        timeout = aiohttp.ClientTimeout(total=self._timeout, sock_connect=_CONNECT_TIMEOUT)
        async with self._answer(
            method,
            path,
            what,
            timeout,
            params=query,
            data=None if body is None else orjson.dumps(body),
            headers={} if body is None else {"Content-Type": content_type},
        ) as response:
            raw = await response.read()
        if response.status >= 400:
            raise api_error(response.status, raw, what)
        try:
            answer = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise UnreachableError(f"{what}: the answer is no JSON: {error}") from error
        if not isinstance(answer, dict):
            raise UnreachableError(f"{what}: the answer is no JSON object")
        return answer

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        what: str,
        timeout: aiohttp.ClientTimeout,
        *,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        sent = {"Accept": _JSON, **(headers or {})}
        if token := self._login.token():
            sent["Authorization"] = f"Bearer {token}"
        try:
            async with self._session().request(
                method,
                URL(self._login.server + path, encoded=True),
                headers=sent,
                timeout=timeout,
                server_hostname=self._login.server_name,
                allow_redirects=False,  # the token goes to this server only
                **options,
            ) as response:
                try:
                    yield response
                finally:
                    _cut(response)
        except TimeoutError as error:
            raise UnreachableError(f"{what}: no answer within {timeout.total:g}s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UnreachableError(f"{what}: {error}") from error

    def _session(self) -> aiohttp.ClientSession:
        if self._open is None:
            connector = aiohttp.TCPConnector(
                ssl=self._login.tls if self._login.tls is not None else True,
                socket_factory=_socket,
                keepalive_timeout=60.0,
            )
            self._open = aiohttp.ClientSession(
                connector=connector,
                headers={"User-Agent": f"dapr/{RUNTIME_VERSION}"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._open


def _cut(response: aiohttp.ClientResponse) -> None:
    """An answer not read to its end, such as a watch's: the peer's goodbye is not waited for."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


def _narrowing(selection: Selection) -> dict[str, str]:
    query: dict[str, str] = {}
    if selection.fields:
        query["fieldSelector"] = selection.fields
    if selection.labels:
        query["labelSelector"] = selection.labels
    return query


def _event(line: bytes, what: str) -> WatchEvent:
    try:
        event = orjson.loads(line)
        kind, body = event["type"], event["object"]
        if kind != "ERROR":
            return WatchEvent(kind, body, str(body["metadata"]["resourceVersion"]))
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UnreachableError(f"{what}: an event cannot be read: {error}") from error
    raise status_error(body, what)


async def _lines(stream: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Lines of any length a cluster can have; aiohttp's own end at 128 KiB."""
    rest = bytearray()
    async for chunk in stream.iter_any():
        rest += chunk
        if b"\n" in chunk:
            *whole, last = rest.split(b"\n")
            rest = bytearray(last)
            for line in whole:
                yield bytes(line)
        if len(rest) > _MOST_LINE_BYTES:
            raise UnreachableError(f"an event is larger than {_MOST_LINE_BYTES >> 20} MiB")


def _socket(address: Any) -> socket.socket:
    """A socket that notices within a minute that the server is gone: a watch only listens."""
    family, kind, protocol, _, _ = address
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    return opened
