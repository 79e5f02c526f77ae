"""Where a JSON Web Key Set comes from: a URL, a file, or the text itself."""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

import orjson

from dapr_common.http.proxy import outward_client

_MOST_BYTES = 1 << 20
_LOOK_SECONDS = 1.0
_SHOWN = 80


class KeySourceError(ValueError):
    """The keys cannot be had; the text says where they were looked for and why."""


class KeySource(Protocol):
    """What gives the document."""

    remote: bool
    """Whether the document changes without a sign: it is then read again from time to time."""

    async def read(self) -> dict[str, Any]:
        """The document as it is now. Raises ``KeySourceError``."""
        ...

    async def changed(self) -> bool:
        """Whether the document is known to be another than the one read last."""
        ...


def key_source(text: str, *, ca_certificate: str, timeout: float) -> KeySource:
    """The source that a setting names. Raises ``KeySourceError``; reads nothing else yet."""
    text = text.strip()
    if urlsplit(text).scheme.lower() in ("http", "https"):
        return UrlSource(text, ca_certificate, timeout)
    if text.startswith("{"):
        return TextSource(text.encode())
    if (path := _existing_file(text)) is not None:
        return FileSource(path)
    try:
        plain = base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        plain = b""
    if plain.lstrip().startswith(b"{"):
        return TextSource(plain)
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    raise KeySourceError(
        f"invalid key set '{shown}': expected an http(s) URL, the path of a file, or a JSON Web "
        "Key Set as text or base64"
    )


class TextSource:
    """The document itself."""

    remote = False

    def __init__(self, text: bytes) -> None:
        self._text = text

    async def read(self) -> dict[str, Any]:
        return _document(self._text, "the given text")

    async def changed(self) -> bool:
        return False


class FileSource:
    """A file, looked at when it is asked for, at most once a second."""

    remote = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._looked = 0.0

    async def read(self) -> dict[str, Any]:
        return await asyncio.to_thread(self._read)

    async def changed(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._looked < _LOOK_SECONDS:
            return False
        self._looked = now
        return await asyncio.to_thread(self._stamp) != self._seen

    def _read(self) -> dict[str, Any]:
        self._seen = self._stamp()
        try:
            with self._path.open("rb") as file:
                text = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise KeySourceError(
                f"key set {self._path} cannot be read: {error.strerror}"
            ) from error
        if len(text) > _MOST_BYTES:
            raise KeySourceError(f"key set {self._path} is larger than 1 MiB")
        return _document(text, str(self._path))

    def _stamp(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return (found.st_mtime_ns, found.st_size, found.st_ino)


class UrlSource:
    """A key set, or an OpenID configuration document that says where the key set is."""

    remote = True

    def __init__(self, url: str, ca_certificate: str, timeout: float) -> None:
        self._url = _checked(url)
        self._timeout = timeout
        self._tls = _tls(ca_certificate)

    async def read(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._get(self._url)
                link = found.get("jwks_uri")
                if "keys" in found or not isinstance(link, str):
                    return found
                url = _checked(link)
                if self._url.scheme == "https" and url.scheme != "https":
                    raise KeySourceError(
                        f"{_shown(self._url)} names a key set without TLS: {_shown(url)}"
                    )
                return await self._get(url)
        except TimeoutError as error:
            raise KeySourceError(
                f"{_shown(self._url)} did not answer within {self._timeout:g}s"
            ) from error

    async def changed(self) -> bool:
        return False

    async def _get(self, url: SplitResult) -> dict[str, Any]:
        assert url.hostname is not None
        tls = self._tls if url.scheme == "https" else None
        port = url.port or (443 if tls is not None else 80)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        try:
            client = outward_client(url.hostname, port, ssl=tls, connect_timeout=self._timeout)
        except OSError as error:
            raise KeySourceError(f"{_shown(url)} cannot be reached: {error}") from error
        try:
            response = await client.request(
                "GET", target.encode(), [(b"Accept", b"application/json")]
            )
            if response.status != 200:
                raise KeySourceError(f"{_shown(url)} answered with status {response.status}")
            text = b""
            async for chunk in response.chunks():
                text += chunk
                if len(text) > _MOST_BYTES:
                    raise KeySourceError(f"{_shown(url)} answered with more than 1 MiB")
        except OSError as error:
            raise KeySourceError(f"{_shown(url)} cannot be reached: {error}") from error
        finally:
            await client.close()
        return _document(text, _shown(url))


def _document(text: bytes, where: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise KeySourceError(f"invalid key set in {where}: no JSON: {error}") from error
    if not isinstance(found, dict):
        raise KeySourceError(f"invalid key set in {where}: expected a JSON object")
    return found


def _existing_file(text: str) -> Path | None:
    try:
        return Path(text) if Path(text).is_file() else None
    except (OSError, ValueError):  # a text too long or too strange for a path
        return None


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        usable = usable and parts.port != 0 and (parts.path + parts.query).isascii()
    except ValueError:
        usable = False
    if not usable or any(blank in url for blank in " \t\r\n"):
        raise KeySourceError("invalid URL of a key set: expected http(s)://host/path")
    return parts


def _shown(url: SplitResult) -> str:
    """A URL for messages: without credentials and query."""
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"


def _tls(ca_certificate: str) -> ssl.SSLContext:
    """System roots, or only the given ones: PEM text or the path of a file."""
    if not ca_certificate:
        return ssl.create_default_context()
    try:
        if "-----BEGIN" in ca_certificate:
            return ssl.create_default_context(cadata=ca_certificate)
        return ssl.create_default_context(cafile=ca_certificate)
    except OSError as error:  # SSLError among them
        raise KeySourceError(
            f"invalid CA certificate: expected PEM text or the path of a file: {error}"
        ) from error
