"""One bucket of Amazon S3, or of a service that speaks its REST interface."""

from __future__ import annotations

import base64
import hashlib
import ssl
import urllib.parse
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from dapr_common.http.client import Body
from dapr_sidecar.components import xml_answer
from dapr_sidecar.components.aws.credentials import CredentialSource, domain
from dapr_sidecar.components.aws.settings import AwsSettings
from dapr_sidecar.components.aws.signing import CONTENT_DIGEST, UNSIGNED, Scope, presigned, sign
from dapr_sidecar.components.repeating import RefusedError, repeated
from dapr_sidecar.components.web import WebAnswer, WebExchange, WebService, is_address

_SECONDS = 30.0
_MOST_DELETED = 1000
_SAFE = "/-_.~"
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class S3Error(RefusedError):
    """The service refused."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bucket is: ``origin`` is scheme and host, ``path`` goes before the key."""

    origin: str
    path: str


def place(bucket: str, region: str, endpoint: str, *, path_style: bool, plain: bool) -> Place:
    """``plain``: an endpoint without a scheme is spoken to without TLS.

    The bucket goes into the path, too, when the host is an address, and when its name has a dot and
    there is TLS: certificates name one label only. Raises ``ValueError`` for what is no endpoint.
    """
    given = endpoint or f"s3.{region}.{domain(region)}"
    if "://" not in given:
        given = f"{'http' if plain else 'https'}://{given}"
    parts = urllib.parse.urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise ValueError("expected a host or URL such as s3.eu-west-1.amazonaws.com")
    base = parts.path.rstrip("/")
    is_dotted = parts.scheme == "https" and "." in bucket
    if path_style or is_dotted or is_address(parts.hostname):
        return Place(f"{parts.scheme}://{parts.netloc}", f"{base}/{bucket}")
    return Place(f"{parts.scheme}://{bucket}.{parts.netloc}", base)


class S3Bucket:
    """``tls`` replaces the usual trust in the system's authorities."""

    def __init__(
        self, settings: AwsSettings, region: str, where: Place, tls: ssl.SSLContext | None
    ) -> None:
        """Raises ``ValueError`` for a place that cannot be."""
        self._service = WebService("AWS s3", where.origin, seconds=_SECONDS, tls=tls)
        self._place = where
        self._scope = Scope(region, "s3")
        self._credentials = CredentialSource(settings, region)

    def url(self, key: str) -> str:
        """Where an object is, for those who may read it."""
        return self._place.origin + self._target(key)

    async def presigned_url(self, key: str, seconds: int) -> str:
        """The same, open to whoever has it. Raises ``CredentialsError``."""
        credentials = await self._credentials.get()
        host = self._service.authority
        now = datetime.now(UTC)
        signed = presigned(self._target(key), host, credentials, self._scope, now, seconds)
        scheme = self._place.origin.partition(":")[0]
        return f"{scheme}://{signed}"

    async def put(self, key: str, content: bytes, headers: Mapping[str, str]) -> str:
        """Store an object; its version, empty in a bucket without versions."""
        answer = await self._call("PUT", self._target(key), headers, content)
        return answer.headers.get("x-amz-version-id", "")

    async def put_stream(
        self, key: str, body: Body, length: int, headers: Mapping[str, str]
    ) -> str:
        """The same for what is too large to hold; it is not repeated."""
        target = self._target(key)
        signed = await self._signed("PUT", target, headers, UNSIGNED)
        async with self._service.exchange("PUT", target, signed, body, length) as exchange:
            answer = await exchange.answer()
        self._check(answer)
        return answer.headers.get("x-amz-version-id", "")

    @asynccontextmanager
    async def get(self, key: str) -> AsyncIterator[WebExchange]:
        """An object as it arrives. Raises ``S3Error``, with 404 when there is none."""
        target = self._target(key)
        signed = await self._signed("GET", target, {}, _digest(b""))
        async with self._service.exchange("GET", target, signed) as exchange:
            if exchange.status != 200:
                self._check(await exchange.answer())
            yield exchange

    async def delete(self, key: str) -> None:
        """One that is not there is deleted."""
        await self._call("DELETE", self._target(key), {})

    async def delete_many(self, keys: Sequence[str]) -> dict[str, str]:
        """Keys that could not be deleted, and why."""
        failed: dict[str, str] = {}
        for at in range(0, len(keys), _MOST_DELETED):
            objects = "".join(
                f"<Object><Key>{escape(key)}</Key></Object>"
                for key in keys[at : at + _MOST_DELETED]
            )
            body = f"<Delete xmlns='{_NAMESPACE}'><Quiet>true</Quiet>{objects}</Delete>".encode()
            digest = hashlib.md5(body, usedforsecurity=False).digest()
            headers = {
                "content-md5": base64.b64encode(digest).decode(),
                "content-type": "application/xml",
            }
            answer = await self._call("POST", f"{self._target('')}?delete=", headers, body)
            root = xml_answer.parse(answer.body)
            for one in () if root is None else root.iter("Error"):
                code, text = xml_answer.text(one, "Code"), xml_answer.text(one, "Message")
                failed[xml_answer.text(one, "Key")] = f"{code}: {text}" if text else code
        return failed

    async def list(self, words: Mapping[str, str]) -> xml_answer.Element:
        """A page of the bucket, as the service describes it."""
        query = "&".join(
            f"{name}={urllib.parse.quote(value, safe='-_.~')}" for name, value in words.items()
        )
        answer = await self._call("GET", f"{self._target('')}?{query}", {})
        root = xml_answer.parse(answer.body)
        if root is None:
            raise S3Error(f"{self._service.shown}: the answer is no XML", "", answer.status)
        return root

    async def close(self) -> None:
        """Cut every connection; safe to call twice."""
        await self._service.close()

    # --- inside -----------------------------------------------------------------------------

    def _target(self, key: str) -> str:
        return f"{self._place.path}/{urllib.parse.quote(key, safe=_SAFE)}"

    async def _call(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> WebAnswer:
        async def once() -> WebAnswer:
            signed = await self._signed(method, target, headers, _digest(body))
            answer = await self._service.call(method, target, signed, body)
            self._check(answer)
            return answer

        return await repeated(once)

    async def _signed(
        self, method: str, target: str, headers: Mapping[str, str], digest: str
    ) -> dict[str, str]:
        credentials = await self._credentials.get()
        named = {"host": self._service.authority, CONTENT_DIGEST: digest, **headers}
        now = datetime.now(UTC)
        signed = sign(method, target, named, b"", credentials, self._scope, now)
        del signed["host"]  # the connection says it
        return signed

    def _check(self, answer: WebAnswer) -> None:
        if answer.status in (200, 204):
            return
        root = xml_answer.parse(answer.body)
        code = xml_answer.text(root, "Code") or f"status {answer.status}"
        text = xml_answer.text(root, "Message")
        raise S3Error(
            f"{self._service.shown}: {code}" + (f": {text}" if text else ""), code, answer.status
        )


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
