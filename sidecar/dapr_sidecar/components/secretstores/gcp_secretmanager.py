"""``secretstores.gcp.secretmanager``: Google Cloud Secret Manager, over gRPC."""

from __future__ import annotations

import asyncio
import re
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from google.protobuf.message import Message

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.gcp import secretmanager_pb2 as pb
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.gcp.settings import GcpSettings
from dapr_sidecar.components.gcp.tokens import GcpTokens
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.secretstores.base import SecretStore
from dapr_sidecar.components.secretstores.reading import read_all
from dapr_sidecar.components.web import WebError

_HOST = "secretmanager.googleapis.com"
_SERVICE = "/google.cloud.secretmanager.v1.SecretManagerService/"
# Below the time that a component has to come up, so that the reason is told.
_SECONDS = 4.0
_IDLE_SECONDS = 60.0
_PING_SECONDS = 20.0
"""A line that died in silence is found and given up."""
_PAGE = 100
_LARGEST_ANSWER = 64 << 20
_PROBE = "dapr-probe"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
# A version that is disabled or destroyed is a failed precondition.
_ABSENT = frozenset({GrpcCode.NOT_FOUND, GrpcCode.FAILED_PRECONDITION})
M = TypeVar("M", bound=Message)


class GcpSecretError(Exception):
    """The service refused, or cannot be reached; ``code`` says which."""

    def __init__(self, message: str, code: GrpcCode) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpSecretManagerSettings(GcpSettings):
    """Who we are, and where the service is."""

    endpoint: str = setting(
        "endpoint", default="", help="host:port of an emulator, or a URL; the service itself"
    )

    def target(self) -> tuple[str, bool]:
        """``host:port``, and whether that is reached by TLS. Raises ``SettingsError``."""
        text = self.endpoint or f"https://{_HOST}"
        if "://" not in text:
            text = ("https://" if text.partition(":")[0] == _HOST else "http://") + text
        try:
            parts = urllib.parse.urlsplit(text)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            parts, port = urllib.parse.urlsplit(""), 0
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(
                f"invalid metadata field 'endpoint': '{self.endpoint}': expected host:port or a "
                "URL such as https://host"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{host}:{port}", parts.scheme == "https"


class GcpSecretManagerStore(SecretStore):
    """A request may name a version (`version_id`); without one, the latest is meant."""

    settings: ClassVar[type[Any]] = GcpSecretManagerSettings

    def __init__(self, settings: GcpSecretManagerSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        target, secure = settings.target()
        self._parent = f"projects/{settings.project_id}"
        # An emulator gets no credentials.
        self._tokens = GcpTokens(settings, f"https://{_HOST}/") if secure else None
        self._shown = f"Google Cloud Secret Manager at {target}"
        self._channel = GrpcChannel(
            target,
            ssl=ssl.create_default_context() if secure else None,
            server_hostname=target.rpartition(":")[0].strip("[]") if secure else None,
            max_receive_bytes=_LARGEST_ANSWER,
            connect_timeout=_SECONDS,
            idle_timeout=_IDLE_SECONDS,
            ping_interval=_PING_SECONDS,
        )

    # --- life -------------------------------------------------------------------------------

    async def open(self) -> None:
        try:
            await self._page(1, "")
        except GcpSecretError as error:
            if error.code is GrpcCode.NOT_FOUND:
                raise SettingsError(
                    f"invalid metadata field 'projectID': expected a project that is there: {error}"
                ) from error
            # It knows who we are; the right to list is not what reading a secret takes.
            if error.code is not GrpcCode.PERMISSION_DENIED:
                raise

    async def close(self) -> None:
        await self._channel.close()

    async def ping(self) -> None:
        """By reading, which the service limits a hundred times less than listing."""
        try:
            await self._access(_PROBE, "latest")
        except GcpSecretError as error:
            if error.code not in _ABSENT | {GrpcCode.PERMISSION_DENIED}:
                raise

    # --- secrets ----------------------------------------------------------------------------

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        version = metadata.get("version_id") or "latest"
        for text in (name, version):
            if not _NAME.fullmatch(text):
                raise LookupError(
                    f"secret {name} not found in version {version}: names are letters, digits, "
                    "dashes and underscores, 255 at most"
                )
        try:
            answer = await self._access(name, version)
        except GcpSecretError as error:
            if error.code in _ABSENT:
                raise LookupError(f"secret {name} not found: {error}") from error
            raise
        # What is no UTF-8 must not break the answer.
        return {name: answer.payload.data.decode("utf-8", "replace")}

    async def bulk_get(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """The latest version of every secret that has one which can be read."""
        names: list[str] = []
        token = ""
        while True:
            page = await self._page(_PAGE, token)
            names += [secret.name.rpartition("/")[2] for secret in page.secrets]
            if not (token := page.next_page_token):
                break
        return await read_all(names, lambda name: self.get(name, {}))

    async def _access(self, name: str, version: str) -> pb.AccessSecretVersionResponse:
        full = f"{self._parent}/secrets/{name}/versions/{version}"
        request = pb.AccessSecretVersionRequest(name=full)
        kind = pb.AccessSecretVersionResponse
        return await self._call("AccessSecretVersion", request, f"name={full}", kind)

    async def _page(self, size: int, token: str) -> pb.ListSecretsResponse:
        request = pb.ListSecretsRequest(parent=self._parent, page_size=size, page_token=token)
        place = f"parent={self._parent}"
        return await self._call("ListSecrets", request, place, pb.ListSecretsResponse)

    async def _call(self, method: str, request: Message, place: str, answer: type[M]) -> M:
        """Made again when the line is lost, as it only reads; ``place`` leads it to its region.

        Raises ``GcpSecretError``.
        """
        metadata = [("x-goog-request-params", urllib.parse.quote(place, safe="="))]
        if self._tokens is not None:
            metadata.append(("authorization", f"Bearer {await self._token(self._tokens)}"))

        async def once() -> M:
            done = await self._channel.unary(
                _SERVICE + method, request, answer, metadata=metadata, timeout=_SECONDS
            )
            found: M = done.message
            return found

        try:
            async with asyncio.timeout(_SECONDS):
                try:
                    return await once()
                except RpcError as error:
                    if error.code is not GrpcCode.UNAVAILABLE:
                        raise
                return await once()
        except TimeoutError as error:
            raise self._silent() from error
        except RpcError as error:
            if error.code is GrpcCode.DEADLINE_EXCEEDED:
                raise self._silent() from error
            raise GcpSecretError(f"{self._shown}: {error.message}", error.code) from error

    def _silent(self) -> GcpSecretError:
        text = f"{self._shown}: no answer within {_SECONDS:g} s"
        return GcpSecretError(text, GrpcCode.DEADLINE_EXCEEDED)

    async def _token(self, tokens: GcpTokens) -> str:
        try:
            return await tokens.get()
        except (ConnectionError, WebError) as error:
            raise GcpSecretError(
                f"{self._shown}: no token: without 'privateKey' and 'clientEmail', the machine "
                f"has to have an identity: {error}",
                GrpcCode.UNAUTHENTICATED,
            ) from error
