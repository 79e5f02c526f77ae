"""One container of Azure Blob Storage over its REST interface."""

from __future__ import annotations

import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate

from dapr_common.http.client import Body
from dapr_sidecar.components import xml_answer
from dapr_sidecar.components.azure.storage_signing import VERSION, shared_key
from dapr_sidecar.components.repeating import RefusedError, repeated
from dapr_sidecar.components.web import WebAnswer, WebExchange, WebService

_SECONDS = 30.0
_SAFE = "/-_.~"

Authorize = Callable[[str, str, Mapping[str, str], int], Awaitable[str]]
"""Method, target, headers, length of the body → the header's value."""


class BlobError(RefusedError):
    """The service refused."""


def key_authorization(account: str, key: bytes) -> Authorize:
    """Requests are signed with the account's key."""

    async def authorize(method: str, target: str, headers: Mapping[str, str], length: int) -> str:
        return shared_key(method, target, headers, length, account, key)

    return authorize


def token_authorization(token: Callable[[], Awaitable[str]]) -> Authorize:
    """Requests carry a token of Microsoft Entra ID."""

    async def authorize(*_: object) -> str:
        return f"Bearer {await token()}"

    return authorize


class BlobContainer:
    """``origin`` is scheme and host; ``path`` what goes before the container, or nothing."""

    def __init__(self, origin: str, path: str, container: str, authorize: Authorize) -> None:
        """Raises ``ValueError`` when there is no such place."""
        self._service = WebService("Azure Blob Storage", origin, seconds=_SECONDS)
        self._origin = origin
        self._path = f"{path}/{urllib.parse.quote(container)}"
        self._authorize = authorize

    def url(self, blob: str) -> str:
        """Where a blob is."""
        return self._origin + self._target(blob)

    async def make(self, public: str) -> None:
        """Make the container unless it is there; ``public`` is ``blob``, ``container`` or empty."""
        headers = {"x-ms-blob-public-access": public} if public else {}
        try:
            await self._call("PUT", f"{self._path}?restype=container", headers)
        except BlobError as error:
            if error.code != "ContainerAlreadyExists":
                raise

    async def describe(self) -> None:
        """Raises ``BlobError`` when the container is not there, or not ours to look at."""
        await self._call("GET", f"{self._path}?restype=container", {})

    async def put(self, blob: str, content: bytes, headers: Mapping[str, str]) -> None:
        """Store a blob in the place of what is there."""
        await self._call("PUT", self._target(blob), _block(headers), content)

    async def put_stream(
        self, blob: str, body: Body, length: int, headers: Mapping[str, str]
    ) -> None:
        """The same for what is too large to hold; it is not repeated."""
        target = self._target(blob)
        signed = await self._signed("PUT", target, _block(headers), length)
        async with self._service.exchange("PUT", target, signed, body, length) as exchange:
            answer = await exchange.answer()
        self._check(answer)

    @asynccontextmanager
    async def get(self, blob: str) -> AsyncIterator[WebExchange]:
        """A blob as it arrives. Raises ``BlobError``, with 404 when there is none."""
        target = self._target(blob)
        signed = await self._signed("GET", target, {}, 0)
        async with self._service.exchange("GET", target, signed) as exchange:
            if exchange.status != 200:
                self._check(await exchange.answer())
            yield exchange

    async def delete(self, blob: str, snapshots: str) -> None:
        """``snapshots`` is ``include``, ``only`` or empty. Raises ``BlobError``."""
        headers = {"x-ms-delete-snapshots": snapshots} if snapshots else {}
        await self._call("DELETE", self._target(blob), headers)

    async def list(self, words: Mapping[str, str]) -> xml_answer.Element:
        """A page of the container, as the service describes it."""
        query = "".join(
            f"&{name}={urllib.parse.quote(value, safe='')}" for name, value in words.items()
        )
        target = f"{self._path}?restype=container&comp=list{query}"
        answer = await self._call("GET", target, {})
        root = xml_answer.parse(answer.body)
        if root is None:
            raise BlobError(f"{self._service.shown}: the answer is no XML", "", answer.status)
        return root

    async def close(self) -> None:
        """Cut every connection; safe to call twice."""
        await self._service.close()

    # --- inside -----------------------------------------------------------------------------

    def _target(self, blob: str) -> str:
        return f"{self._path}/{urllib.parse.quote(blob, safe=_SAFE)}"

    async def _call(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> WebAnswer:
        async def once() -> WebAnswer:
            signed = await self._signed(method, target, headers, len(body))
            answer = await self._service.call(method, target, signed, body)
            self._check(answer)
            return answer

        return await repeated(once)

    async def _signed(
        self, method: str, target: str, headers: Mapping[str, str], length: int
    ) -> dict[str, str]:
        named = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": VERSION, **headers}
        return {**named, "authorization": await self._authorize(method, target, named, length)}

    def _check(self, answer: WebAnswer) -> None:
        if answer.status < 300:
            return
        root = xml_answer.parse(answer.body)
        code = (
            answer.headers.get("x-ms-error-code")
            or xml_answer.text(root, "Code")
            or f"status {answer.status}"
        )
        text = (xml_answer.text(root, "Message").splitlines() or [""])[0]
        raise BlobError(
            f"{self._service.shown}: {code}" + (f": {text}" if text else ""), code, answer.status
        )


def _block(headers: Mapping[str, str]) -> dict[str, str]:
    return {"x-ms-blob-type": "BlockBlob", **headers}
