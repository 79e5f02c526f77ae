"""The HTTP API of a Consul agent, as far as name resolution needs it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from dapr_sidecar.components.nameresolution.consul import query
from dapr_sidecar.components.nameresolution.consul.environment import endpoint
from dapr_sidecar.components.nameresolution.consul.settings import (
    ClientSettings,
    QueryOptions,
    TlsSettings,
)

_SECONDS = 10.0
_DEFAULT_WAIT = timedelta(minutes=5)  # what an agent takes when a query with an index names none
_SHOWN = 300


class AgentError(Exception):
    """The agent could not be asked, or refused; the text names it."""


class Agent:
    """One agent. Every call has a deadline and raises ``AgentError``."""

    def __init__(self, client: ClientSettings) -> None:
        self._client = client
        self._session: aiohttp.ClientSession | None = None
        self._url = ""
        self._shown = client.address

    async def open(self) -> None:
        """Read the token's file and the certificates. Raises ``ValueError``; connects later."""
        where = endpoint(self._client)
        headers = {"X-Consul-Token": token} if (token := await self._token()) else {}
        user, password = self._client.username, self._client.password
        tls = await asyncio.to_thread(_tls_context, self._client.tls)
        connector: aiohttp.BaseConnector
        if where.scheme == "unix":
            connector, self._url = aiohttp.UnixConnector(where.path), "http://localhost"
        else:
            connector, self._url = aiohttp.TCPConnector(ssl=tls, limit=0), where.geturl()
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            auth=aiohttp.BasicAuth(user, password) if user else None,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the connections; safe to call twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def check(self) -> None:
        """Ask the agent for itself: whether it is there and lets this client in."""
        await self._call("GET", "agent/self")

    async def register(self, body: Mapping[str, Any]) -> None:
        """Register a service at this agent."""
        await self._call("PUT", "agent/service/register", body=body)

    async def deregister(self, service_id: str) -> None:
        """Take a registration back."""
        await self._call("PUT", f"agent/service/deregister/{quote(service_id, safe='')}")

    async def healthy(self, service: str, options: QueryOptions) -> list[Any]:
        """The instances of a service whose checks all pass."""
        path = f"health/service/{quote(service, safe='')}"
        found, _ = await self._query(path, options, [("passing", "1")])
        return found

    async def check_states(self, options: QueryOptions) -> tuple[list[Any], int]:
        """The checks that the options' filter selects, and the index they belong to."""
        found, headers = await self._query("health/state/any", options, [])
        index = headers.get("X-Consul-Index", "")
        return found, int(index) if index.isdecimal() else 0

    # --- requests ---------------------------------------------------------------------------

    async def _query(
        self, path: str, options: QueryOptions, more: query.Parameters
    ) -> tuple[list[Any], Mapping[str, str]]:
        if not options.wait_time:
            options = replace(options, wait_time=self._client.wait_time)
        seconds = _SECONDS
        if options.wait_index or options.wait_hash:
            wait = options.wait_time or _DEFAULT_WAIT
            seconds += wait.total_seconds() * (1 + 1 / 16)  # an agent spreads waits by a sixteenth
        data, headers = await self._call(
            "GET",
            path,
            parameters=[*more, *query.parameters(options)],
            headers=query.headers(options),
            seconds=seconds,
        )
        try:
            found = json.loads(data)
        except ValueError as error:
            raise AgentError(f"the answer of {self._shown} is no JSON: {error}") from None
        if not isinstance(found, list):
            raise AgentError(f"the answer of {self._shown} is no list; is a Consul agent there?")
        return found, headers

    async def _call(
        self,
        method: str,
        path: str,
        *,
        parameters: query.Parameters | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        seconds: float = _SECONDS,
    ) -> tuple[bytes, Mapping[str, str]]:
        session = self._session
        if session is None:
            raise AgentError(f"the connection to the Consul agent at {self._shown} is closed")
        try:
            async with session.request(
                method,
                f"{self._url}/v1/{path}",
                params=self._with_defaults(parameters or []),
                headers=headers,
                json=body,
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,  # the token would go to wherever they lead
                server_hostname=self._client.tls.server_name or None,
            ) as answer:
                data = await answer.read()
        except TimeoutError as error:
            text = f"the Consul agent at {self._shown} did not answer within {seconds:g} s"
            raise AgentError(text) from error
        except (aiohttp.ClientError, OSError) as error:
            text = f"the Consul agent at {self._shown} cannot be asked: {error}"
            raise AgentError(text) from error
        if answer.status != 200:
            said = data[:_SHOWN].decode(errors="replace").strip()
            raise AgentError(f"the Consul agent at {self._shown} answers {answer.status}: {said}")
        return data, answer.headers

    def _with_defaults(self, given: query.Parameters) -> query.Parameters:
        client = self._client
        defaults = (
            ("dc", client.datacenter),
            ("ns", client.namespace),
            ("partition", client.partition),
        )
        names = {name for name, _ in given}
        return given + [(name, text) for name, text in defaults if text and name not in names]

    async def _token(self) -> str:
        path = self._client.token_file
        if not path:
            return self._client.token
        try:
            text = await asyncio.to_thread(Path(path).read_text, "utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"Error loading token file {path} : {error}") from error
        return text.strip() or self._client.token


def _tls_context(tls: TlsSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file or None, capath=tls.ca_path or None)
        if tls.cert_file or tls.key_file:
            context.load_cert_chain(tls.cert_file, tls.key_file or None, password="")
    except (OSError, ValueError) as error:
        files = ", ".join(filter(None, (tls.ca_file, tls.ca_path, tls.cert_file, tls.key_file)))
        raise ValueError(f"invalid 'Client.TLSConfig': {error} ({files})") from error
    if tls.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
