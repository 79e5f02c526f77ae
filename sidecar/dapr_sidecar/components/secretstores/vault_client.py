"""Calls to a Vault over its HTTP API, with a token that may change while we run."""

from __future__ import annotations

import asyncio
import urllib.parse
from pathlib import Path
from typing import Any

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.secretstores.reading import json_object
from dapr_sidecar.components.secretstores.vault_engine import KvEngine
from dapr_sidecar.components.secretstores.vault_settings import ADDRESS, VaultSettings
from dapr_sidecar.components.web import WebAnswer, WebService

_LOG = get_logger("dapr.contrib.secretstores.vault")
# Below the time that a component has to come up, so that the reason is told.
_SECONDS = 4.0
_FORBIDDEN, _NOT_FOUND = 403, 404


class VaultError(Exception):
    """The server refused; ``status`` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class VaultToken:
    """The manifest's token, or what stands in a file now: whoever renews it writes it there."""

    def __init__(self, settings: VaultSettings) -> None:
        """Raises ``SettingsError`` when there is neither."""
        self._token = settings.token.strip()
        self._path = "" if self._token else settings.token_file
        self.field = "vaultTokenMountPath" if self._path else "vaultToken"
        if not self._token and not self._path:
            raise SettingsError(
                "missing required metadata field 'vaultToken': expected a token, or in "
                "'vaultTokenMountPath' the path of a file with one"
            )
        if self._token and not _is_token(self._token):
            raise SettingsError("invalid metadata field 'vaultToken': expected one word")
        if self._token and settings.token_file:
            _LOG.warning("'vaultToken' is used; the file 'vaultTokenMountPath' is not read")

    async def get(self) -> str:
        """While the file is replaced, the last one read. Raises ``SettingsError``."""
        if not self._path:
            return self._token
        text, reason = await asyncio.to_thread(_read_token, Path(self._path))
        self._token = text or self._token
        if not self._token:
            raise SettingsError(
                f"invalid metadata field 'vaultTokenMountPath': '{self._path}': {reason}"
            )
        return self._token


def _read_token(path: Path) -> tuple[str, str]:
    """The file's token, or why there is none."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        return "", error.strerror or str(error)
    except UnicodeDecodeError:
        return "", "expected a text"
    return (text, "") if _is_token(text) else ("", "expected one word, the token")


def _is_token(text: str) -> bool:
    return text.isascii() and text.isprintable() and len(text.split()) == 1


class VaultClient:
    """One server."""

    def __init__(self, settings: VaultSettings) -> None:
        """Raises ``SettingsError``."""
        url = settings.address or ADDRESS
        self._token = VaultToken(settings)
        tls = settings.tls() if url.startswith("https://") else None
        try:
            self._service = WebService(
                "Vault", url, seconds=_SECONDS, tls=tls, server_name=settings.server_name
            )
        except ValueError as error:
            raise SettingsError(f"invalid metadata field 'vaultAddr': '{url}': {error}") from None

    async def engine(self, mount: str, folder: str) -> KvEngine:
        """Ask which kind of KV engine there is.

        Raises ``VaultError``, ``WebError``, or ``SettingsError`` when there is another engine.
        """
        try:
            data = await self.read("sys/internal/ui/mounts/" + urllib.parse.quote(mount))
        except VaultError as error:
            if error.status != _FORBIDDEN:
                raise
            raise VaultError(
                f"{error}: the token of '{self._token.field}' is not valid, or opens nothing in "
                f"an engine at '{mount}' ('enginePath')",
                error.status,
            ) from error
        if data is None:  # a server that cannot tell: version 2, which is all that Dapr knows
            return KvEngine(mount, 2, folder)
        kind, path = data.get("type"), str(data.get("path", "")).strip("/")
        if kind not in ("kv", "generic") or path not in ("", mount):
            there = f"the engine at '{path}' is of type {kind}"
            raise SettingsError(
                f"invalid metadata field 'enginePath': '{mount}': expected the path of a KV "
                f"engine: {there}"
            )
        options = data.get("options") or {}
        return KvEngine(mount, 2 if str(options.get("version")) == "2" else 1, folder)

    async def read(self, path: str) -> dict[str, Any] | None:
        """The answer's ``data``; ``None`` for what is not there.

        Raises ``VaultError``, ``WebError`` or ``SettingsError``.
        """
        headers = {"x-vault-token": await self._token.get(), "x-vault-request": "true"}
        answer = await self._service.call("GET", f"/v1/{path}", headers)
        content = json_object(answer.body)
        reasons = [" ".join(str(one).split()) for one in content.get("errors") or ()]  # one line
        data = content.get("data")
        if answer.status == 200 and isinstance(data, dict):
            return data
        if answer.status == _NOT_FOUND and not reasons:
            return None
        if answer.status == 200:
            reasons.append("the answer has no data")
        raise VaultError(f"{self._service.shown}: {_reason(answer, reasons)}", answer.status)

    async def close(self) -> None:
        """Cut every connection; safe to call twice."""
        await self._service.close()


def _reason(answer: WebAnswer, reasons: list[str]) -> str:
    if location := answer.headers.get("location"):
        host = urllib.parse.urlsplit(location).netloc
        return f"status {answer.status}: it leaves requests to {host}: set 'vaultAddr' to that"
    return "; ".join([f"status {answer.status}", *reasons])
