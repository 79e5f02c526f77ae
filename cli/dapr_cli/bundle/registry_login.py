"""How a registry lets somebody in: a name and a password, or tokens that somebody else makes."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import aiohttp
from yarl import URL

from dapr_cli.bundle.credentials import Credentials
from dapr_cli.errors import CliError

_CLIENT = "dapr-cli"
_MAX_ANSWER_BYTES = 1 << 20
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class RegistryError(CliError):
    """A registry cannot be reached, or says no."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a registry wants to see, from its header ``WWW-Authenticate``."""

    scheme: str
    realm: str
    service: str
    scopes: tuple[str, ...]


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Those that can be met; tokens first."""
    found = []
    for header in headers:
        scheme, _, rest = header.strip().partition(" ")
        given = {name.lower(): value for name, value in _PARAMETER.findall(rest)}
        scopes = tuple(given.get("scope", "").split())
        found.append(
            Challenge(scheme.lower(), given.get("realm", ""), given.get("service", ""), scopes)
        )
    known = [one for one in found if one.scheme in ("bearer", "basic")]
    return sorted(known, key=lambda one: one.scheme != "bearer")


class RegistryLogin:
    """What is known about a registry's wishes; headers for its requests."""

    def __init__(
        self,
        host: str,
        find: Callable[[str], Credentials | None],
        tls: ssl.SSLContext | None,
        seconds: float,
    ) -> None:
        """``find`` is asked once the registry wants a login: many never do.

        Without ``tls`` it speaks plain HTTP; ``seconds`` is how long a token may take.
        """
        self._host = host
        self._find = find
        self._tls = tls
        self._seconds = seconds
        self._basic = False
        self._tokens: dict[str, str] = {}

    @cached_property
    def _credentials(self) -> Credentials | None:
        return self._find(self._host)

    def header(self, scope: str) -> str:
        """For a request; empty while the registry has not asked for anything."""
        if self._basic and self._credentials is not None:
            return self._credentials.basic
        token = self._tokens.get(scope)
        return f"Bearer {token}" if token else ""

    async def meet(
        self, session: aiohttp.ClientSession, challenges: list[Challenge], scope: str
    ) -> None:
        """Get what the registry wants to see for a scope. Raises ``RegistryError``."""
        if not challenges:
            raise RegistryError(f"registry {self._host} wants a login of an unknown kind")
        wanted = challenges[0]
        if wanted.scheme == "bearer":
            self._tokens[scope] = await self._token(session, wanted, scope)
        elif self._credentials is None or self._basic:
            raise self.refused()
        else:
            self._basic = True

    def refused(self) -> RegistryError:
        """It does not let the user in."""
        known = self._credentials
        who = f"does not let {known.username or 'you'} in" if known else "wants a login"
        return RegistryError(
            f"registry {self._host} {who}",
            f"'docker login {self._host}' writes one down in ~/.docker/config.json; or name the "
            "folder of a config.json with 'auths' in DOCKER_CONFIG.",
        )

    async def _token(self, session: aiohttp.ClientSession, wanted: Challenge, scope: str) -> str:
        realm = URL(wanted.realm)
        if realm.scheme != "https" and not (self._tls is None and realm.scheme == "http"):
            raise RegistryError(
                f"registry {self._host} sends its users to {realm} for a token: a login is not "
                "shown without TLS"
            )
        scopes = list(dict.fromkeys((scope, *wanted.scopes)))
        try:
            async with asyncio.timeout(self._seconds):
                status, content = await self._ask(session, realm, wanted.service, scopes)
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            what = f"{type(error).__name__} {error}".strip()
            raise RegistryError(
                f"{realm}, where tokens are made, does not answer: {what}"
            ) from error
        if status in (401, 403):
            raise self.refused()
        try:
            answer = json.loads(content)
            token = answer.get("token") or answer.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if status != 200 or not token:
            raise RegistryError(f"{realm}, where tokens are made, answers {status} and no token")
        return str(token)

    async def _ask(
        self, session: aiohttp.ClientSession, realm: URL, service: str, scopes: list[str]
    ) -> tuple[int, bytes]:
        known, tls = self._credentials, self._tls if self._tls is not None else True
        if known is not None and known.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": known.identity_token,
                "client_id": _CLIENT,
                "service": service,
                "scope": " ".join(scopes),
            }
            request = session.post(realm, data=form, ssl=tls, allow_redirects=False)
        else:
            query = [*realm.query.items(), *(("scope", each) for each in scopes)]
            query += [("service", service)] if service else []
            headers = {"Authorization": known.basic} if known else {}
            url = realm.with_query(query)
            request = session.get(url, headers=headers, ssl=tls, allow_redirects=False)
        async with request as response:
            return response.status, await response.content.read(_MAX_ANSWER_BYTES)
