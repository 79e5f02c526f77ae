"""A registry of images, by the HTTP protocol of OCI's distribution specification."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
from yarl import URL

from dapr_cli.bundle.archives import Descriptor
from dapr_cli.bundle.credentials import find
from dapr_cli.bundle.image_names import Place
from dapr_cli.bundle.registry_login import RegistryError, RegistryLogin, parse_challenges

_SECONDS = 30.0
_STALLED_SECONDS = 60.0
_STORING_SECONDS = 300.0  # a registry may look at all of a layer before it answers
_MAX_ANSWER_BYTES = 1 << 16
_MAX_REASONS = 3

Body = Callable[[], AsyncIterator[bytes]]
"""Begins anew at every call: a request may have to be repeated with a login."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a registry is spoken to."""

    ca: Path | None = None
    """Certificates that are trusted beside the system's."""
    plain_http: bool = False
    """Without TLS, wherever it is; on this machine that is so anyway unless there is a ``ca``."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    challenges: tuple[str, ...]
    body: bytes


class Registry:
    """Use it as ``async with``. Every failure is a ``RegistryError``."""

    def __init__(self, place: Place, access: Access) -> None:
        plain = access.plain_http or (place.is_loopback and access.ca is None)
        self._host = place.host
        self._base = URL(f"{'http' if plain else 'https'}://{place.server}/v2/")
        self._tls = None if plain else _trust(access.ca)
        self._login = RegistryLogin(place.host, find, self._tls, _SECONDS)

    async def __aenter__(self) -> Self:
        # Deadlines are set for every request: how long one may take depends on what it brings.
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def digest_of(self, repository: str, reference: str, media_type: str) -> str:
        """Which image a tag stands for; empty when it stands for none."""
        url = self._url(repository, "manifests", reference)
        headers = {"Accept": media_type}
        answer = await self._call("HEAD", url, repository, headers=headers)
        if answer.status == 404:
            return ""
        self._require(answer, 200, f"HEAD {url}")
        return answer.headers.get("Docker-Content-Digest", "")

    async def has(self, repository: str, blob: Descriptor) -> bool:
        """Whether a blob is there."""
        url = self._url(repository, "blobs", blob.digest)
        answer = await self._call("HEAD", url, repository)
        if answer.status == 404:
            return False
        self._require(answer, 200, f"HEAD {url}")
        return True

    async def begin(self, repository: str, blob: Descriptor, source: str = "") -> URL | None:
        """Where to send a blob to; ``None`` when it was taken over from ``source`` instead.

        ``source`` is another repository of the registry, which has the blob.
        """
        url = self._url(repository, "blobs", "uploads/")
        if source:
            mount = url.with_query({"mount": blob.digest, "from": source})
            answer = await self._call("POST", mount, repository)
            if answer.status == 201:
                return None
            if answer.status == 202:  # it does not do such things here, and begins an upload
                return _location(url, answer)
            # A refusal is no failure: the blob can be sent.
        answer = await self._call("POST", url, repository)
        self._require(answer, 202, f"POST {url}")
        return _location(url, answer)

    async def upload(self, repository: str, target: URL, blob: Descriptor, body: Body) -> None:
        """Send a blob as one request, which may take as long as bytes are taken."""
        text = str(target)
        # As it came: it may hold a signature.
        url = URL(f"{text}{'&' if '?' in text else '?'}digest={blob.digest}", encoded=True)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        answer = await self._call("PUT", url, repository, headers=headers, body=body)
        self._require(answer, 201, f"PUT {target.with_query(None)} of {blob.digest}")

    async def put_manifest(
        self, repository: str, reference: str, media_type: str, content: bytes
    ) -> None:
        """Store a manifest under a tag or its digest."""
        url = self._url(repository, "manifests", reference)

        async def body() -> AsyncIterator[bytes]:
            yield content

        headers = {"Content-Type": media_type, "Content-Length": str(len(content))}
        answer = await self._call("PUT", url, repository, headers=headers, body=body)
        self._require(answer, 201, f"PUT {url}")

    def _url(self, repository: str, *parts: str) -> URL:
        return self._base.join(URL("/".join((repository, *parts)), encoded=True))

    # --- one request ------------------------------------------------------------------------------

    async def _call(
        self,
        method: str,
        url: URL,
        repository: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> _Answer:
        """Once; and once more with what the registry wants to see."""
        scope = f"repository:{repository}:pull,push"
        answer = await self._once(method, url, scope, headers or {}, body)
        if answer.status != 401:
            return answer
        await self._login.meet(self._session, parse_challenges(answer.challenges), scope)
        answer = await self._once(method, url, scope, headers or {}, body)
        if answer.status == 401:
            raise self._login.refused()
        return answer

    async def _once(
        self, method: str, url: URL, scope: str, headers: Mapping[str, str], body: Body | None
    ) -> _Answer:
        own = url.origin() == self._base.origin()
        login = {"Authorization": known} if own and (known := self._login.header(scope)) else {}
        what = f"{method} {url.with_query(None)}"
        try:
            async with (
                asyncio.timeout(_SECONDS) as deadline,
                self._session.request(
                    method,
                    url,
                    headers={**headers, **login},
                    data=_watched(body(), deadline) if body is not None else None,
                    ssl=self._tls if self._tls is not None else True,
                    allow_redirects=method == "HEAD",
                ) as response,
            ):
                return _Answer(
                    response.status,
                    response.headers,
                    tuple(response.headers.getall("WWW-Authenticate", ())),
                    await response.content.read(_MAX_ANSWER_BYTES),
                )
        except TimeoutError as error:
            waited = _STALLED_SECONDS if body is not None else _SECONDS
            raise RegistryError(
                f"registry {self._host}: {what}: nothing went on for {waited:g} s"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise RegistryError(
                f"registry {self._host} cannot be reached: {error}", _advice(error)
            ) from error

    def _require(self, answer: _Answer, status: int, what: str) -> None:
        if answer.status == status:
            return
        if answer.status == 403:
            raise self._login.refused()
        reasons = _reasons(answer.body)
        said = f": {reasons}" if reasons else ""
        raise RegistryError(f"registry {self._host} answers {answer.status} to {what}{said}")


def _location(asked: URL, answer: _Answer) -> URL:
    return asked.join(URL(answer.headers.get("Location", ""), encoded=True))


async def _watched(chunks: AsyncIterator[bytes], deadline: asyncio.Timeout) -> AsyncIterator[bytes]:
    """Puts the end off with every chunk that was taken."""
    loop = asyncio.get_running_loop()
    async for chunk in chunks:
        deadline.reschedule(loop.time() + _STALLED_SECONDS)
        yield chunk
    deadline.reschedule(loop.time() + _STORING_SECONDS)


def _trust(ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as error:
            raise RegistryError(f"--registry-ca {ca} cannot be read: {error}") from error
    return context


def _advice(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "--registry-ca FILE names the certificate of the authority that signed its own."
    if isinstance(error, aiohttp.ClientSSLError):
        return "If it speaks plain HTTP, say so: --registry-plain-http."
    return ""


def _reasons(body: bytes) -> str:
    """What a registry says in its answer."""
    try:
        errors: list[dict[str, Any]] = json.loads(body)["errors"]
        told = [f"{one.get('code', '')} {one.get('message', '')}".strip() for one in errors]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return "; ".join(told[:_MAX_REASONS])
