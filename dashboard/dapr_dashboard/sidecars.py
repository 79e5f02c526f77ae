"""Asks sidecars how they are: health, metadata, metrics. What does not answer is said so."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ssl import SSLContext

import aiohttp
from yarl import URL

from dapr_common.kube.api_errors import LoginError
from dapr_common.kube.login import Login
from dapr_dashboard import masking, metadata
from dapr_dashboard.model import NOT_ASKED, App, Health, Live, Place
from dapr_dashboard.samples import Samples, parse

_SECONDS = 4.0
_PAGE_SECONDS = 6.0
_AT_ONCE = 64
_MOST_BYTES = 8 << 20
_NOWHERE = Place()
_SILENT = "does not answer"


class _AnswerError(Exception):
    """No answer that can be used; the text says why."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes


class Sidecars:
    """One connection pool; with ``through`` all sidecars are behind that API server's proxy."""

    def __init__(self, through: Login | None = None) -> None:
        self._through = through
        self._open: aiohttp.ClientSession | None = None
        self._turns = asyncio.Semaphore(_AT_ONCE)
        # Of their own: samples in the background shall not keep pages waiting.
        self._sample_turns = asyncio.Semaphore(_AT_ONCE)

    async def close(self) -> None:
        """Safe to call twice."""
        session, self._open = self._open, None
        if session is not None:
            await session.close()

    async def with_live(self, apps: Sequence[App], *, metrics: bool = False) -> list[App]:
        """The same with what each sidecar says now; with ``metrics`` also its samples.

        However many hang, this is over after some seconds: those left are shown as not asked.
        """
        end = asyncio.get_running_loop().time() + _PAGE_SECONDS
        found = await asyncio.gather(*(self._live_until(end, app, metrics) for app in apps))
        return [replace(app, live=live) for app, live in zip(apps, found, strict=True)]

    async def samples(self, url: str) -> Samples:
        """What a metrics port says; nothing when it does not answer."""
        async with self._sample_turns:
            try:
                answer = await self._get(Place(), url)
                return parse(answer.body.decode("utf-8", "replace"))
            except (_AnswerError, ValueError):
                return Samples()

    async def _live_until(self, end: float, app: App, metrics: bool) -> Live:
        if app.place == _NOWHERE:
            return app.live
        live = None
        try:
            async with asyncio.timeout_at(end):
                async with self._turns:
                    live = await self._said(app)
                if metrics and app.place.metrics and live.state != _SILENT:
                    return replace(live, samples=await self.samples(app.place.metrics))
        except TimeoutError:
            said = "not asked: others took too long to answer"
            return live or replace(app.live, problem=said)
        return live

    async def _said(self, app: App) -> Live:
        try:
            health = await self._get(app.place, f"{app.place.api}/v1.0/healthz")
            answer = await self._get(app.place, f"{app.place.api}/v1.0/metadata?health=true")
        except _AnswerError as error:
            return _silent(app, str(error))
        if refusal := _refusal(health) or _refusal(answer):
            return _silent(app, refusal)
        return _judged(app, health, answer)

    async def _get(self, place: Place, url: str) -> _Answer:
        # A parent that is not sampled: looking shall not fill the traces that are looked at.
        headers = {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"}
        if place.token:
            headers["dapr-api-token"] = place.token
        try:
            if self._through is not None:
                return await self._proxied(self._through, url, headers)
            if place.socket:
                async with aiohttp.ClientSession(
                    connector=aiohttp.UnixConnector(place.socket), timeout=_timeout()
                ) as session:
                    return await _read(session, url, headers)
            return await _read(self._session(), url, headers)
        except TimeoutError as error:
            raise _AnswerError(f"no answer within {_SECONDS:g} s") from error
        except (aiohttp.ClientError, LoginError, OSError, ValueError) as error:
            raise _AnswerError(str(error) or type(error).__name__) from error

    async def _proxied(self, login: Login, url: str, headers: dict[str, str]) -> _Answer:
        if token := login.token():
            headers["Authorization"] = f"Bearer {token}"
        tls = login.tls if login.tls is not None else True
        return await _read(self._session(), url, headers, tls, login.server_name)

    def _session(self) -> aiohttp.ClientSession:
        if self._open is None:
            self._open = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=2 * _AT_ONCE),
                timeout=_timeout(),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._open


def _timeout() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=_SECONDS)


async def _read(
    session: aiohttp.ClientSession,
    url: str,
    headers: Mapping[str, str],
    tls: SSLContext | bool = True,
    server_name: str | None = None,
) -> _Answer:
    async with session.get(
        URL(url, encoded=True),
        headers=headers,
        ssl=tls,
        server_hostname=server_name,
        allow_redirects=False,
    ) as response:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > _MOST_BYTES:
                raise _AnswerError(f"the answer is larger than {_MOST_BYTES >> 20} MiB")
        return _Answer(response.status, bytes(body))


def _silent(app: App, problem: str) -> Live:
    """What else is known of it stands beside the reason, such as what Kubernetes says."""
    shown = masking.text(problem)
    if app.live.state == NOT_ASKED:
        return Live("bad", _SILENT, problem=shown)
    return replace(app.live, problem=shown)


def _refusal(answer: _Answer) -> str:
    """What an API server says instead of passing a request on; empty when it did."""
    try:
        body = json.loads(answer.body) if answer.status >= 400 else None
    except ValueError:
        return ""
    if isinstance(body, dict) and body.get("kind") == "Status":
        return str(body.get("message") or answer.status)
    return ""


def _judged(app: App, health: _Answer, answer: _Answer) -> Live:
    ready = 200 <= health.status < 300
    state = "ready" if ready else _message(health) or f"not ready ({health.status})"
    kind: Health = "good" if ready else "bad"
    if answer.status in (401, 403) and not app.place.token:
        said = "its API wants a token: start the dashboard with DAPR_API_TOKEN"
        return Live(kind, state, problem=said)
    if answer.status != 200:
        said = f"metadata: {_message(answer) or answer.status}"
        return Live(kind, state, problem=said)
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return Live("unknown", "its metadata is no JSON object")
    if body.get("id", app.app_id) != app.app_id:
        other = str(body["id"])
        return Live("bad", _SILENT, problem=f"app {other} has taken its port")
    live = Live(kind, state, metadata.shown(body))
    if ready and any(one.get("state") != "ready" for one in live.listed("componentHealth")):
        return replace(live, health="warn", state="ready, components are not")
    return live


def _message(answer: _Answer) -> str:
    try:
        return masking.text(str(json.loads(answer.body)["message"]))
    except (ValueError, KeyError, TypeError):
        return ""
