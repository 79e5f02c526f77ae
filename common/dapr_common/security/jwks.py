"""JSON Web Key Sets: keys kept and renewed, and the tokens that they sign verified."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.algorithms import RSAAlgorithm
from jwt.types import Options

from dapr_common.observe.logs import get_logger
from dapr_common.security.jwks_source import KeySource, KeySourceError, key_source

__all__ = ["KeySet", "KeySourceError", "TokenError"]

_LOG = get_logger("dapr.runtime.jwks")
_MAX_AGE_SECONDS = 900.0
_LEAST_RSA_BITS = 2048
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
_PUBLIC = ("kty", "crv", "x", "y", "n", "e")
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, "the token has expired"),
    (jwt.ImmatureSignatureError, "the token is not valid yet"),
    (jwt.InvalidAudienceError, "the token is for another audience"),
    (jwt.InvalidIssuerError, "the token is from another issuer"),
    (jwt.InvalidSignatureError, "the token's signature is wrong"),
    (jwt.DecodeError, "the token is malformed"),
)


class TokenError(ValueError):
    """A token is refused; the text says why and holds nothing of the token."""


@dataclass(frozen=True, slots=True)
class _Key:
    id: str | None
    algorithms: tuple[str, ...]
    key: Any


class KeySet:
    """The keys of one source: a URL, a file, or the set itself as text or base64.

    A URL may also be that of an OpenID configuration document. Keys from a URL are renewed from
    time to time and when a token names a key that is not known, but never twice within
    ``min_refresh_interval`` seconds; a fetch ends after ``request_timeout`` seconds, and one that
    fails leaves the keys there were. A file is read again when it has changed.
    """

    def __init__(
        self,
        source: str,
        *,
        ca_certificate: str = "",
        min_refresh_interval: float = 30.0,
        request_timeout: float = 10.0,
    ) -> None:
        self._text = source
        self._ca_certificate = ca_certificate
        self._min_refresh = min_refresh_interval
        self._timeout = request_timeout
        self._source: KeySource | None = None
        self._keys: list[_Key] = []
        self._tried = 0.0
        self._failed = False
        self._fetching: asyncio.Task[None] | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the keys. Raises ``KeySourceError``."""
        self._source = await asyncio.to_thread(
            key_source, self._text, ca_certificate=self._ca_certificate, timeout=self._timeout
        )
        loop = asyncio.get_running_loop()
        self._tried = loop.time()
        self._keys = _usable_keys(await self._source.read())
        if self._source.remote:
            self._renewal = loop.create_task(self._renew_forever(), name="renew keys")

    async def close(self) -> None:
        """End the renewal; safe to call twice."""
        tasks = [task for task in (self._renewal, self._fetching) if task is not None]
        self._renewal = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def verify(
        self, token: str, *, audience: str, issuer: str | None, leeway: float
    ) -> dict[str, Any]:
        """The claims of a token. Raises ``TokenError``.

        Only asymmetric signatures count. Claims of time are checked when they are there.
        """
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, RecursionError) as error:  # JSON may be nested without end
            raise TokenError("the token is malformed") from error
        failure = TokenError("no known key has signed the token")
        for candidate in await self._candidates(header.get("kid"), str(header.get("alg"))):
            try:
                return _claims(token, candidate, audience, issuer, leeway)
            except jwt.InvalidSignatureError:
                failure = TokenError("the token's signature is wrong")
            except jwt.PyJWTError as error:
                raise TokenError(_reason(error)) from error
        raise failure

    # --- keys -------------------------------------------------------------------------------

    async def _candidates(self, key_id: object, algorithm: str) -> list[_Key]:
        assert self._source is not None, "open() comes first"
        if await self._source.changed():
            await self._fetch()
        found = self._matching(key_id, algorithm)
        if not found and self._source.remote:
            await self._refresh()
            found = self._matching(key_id, algorithm)
        return found

    def _matching(self, key_id: object, algorithm: str) -> list[_Key]:
        return [
            key
            for key in self._keys
            if algorithm in key.algorithms and (key_id is None or key.id in (key_id, None))
        ]

    async def _refresh(self) -> None:
        """Fetch, or wait for the fetch under way; nothing when the last try was just now."""
        if self._fetching is None:
            loop = asyncio.get_running_loop()
            if loop.time() - self._tried < self._min_refresh:
                return
            self._fetching = loop.create_task(self._fetch(), name="fetch keys")
            self._fetching.add_done_callback(self._fetched)
        await asyncio.wait([self._fetching])  # a caller that leaves does not end it for the others

    def _fetched(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        assert self._source is not None
        self._tried = asyncio.get_running_loop().time()
        try:
            self._keys = _usable_keys(await self._source.read())
        except KeySourceError as error:
            self._failed = True
            _LOG.warning("the keys that were read before stay in use: %s", error)
        else:
            self._failed = False

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(max(self._min_refresh, 30.0 if self._failed else _MAX_AGE_SECONDS))
            await self._refresh()


def _claims(
    token: str, key: _Key, audience: str, issuer: str | None, leeway: float
) -> dict[str, Any]:
    options: Options = {"verify_iss": issuer is not None, "require": ["aud"]}
    return jwt.decode(
        token,
        key.key,
        algorithms=list(key.algorithms),
        audience=audience,
        issuer=issuer,
        leeway=leeway,
        options=options,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"the token has no claim '{error.claim}'"
    return next((text for kind, text in _REASONS if isinstance(error, kind)), "the token is wrong")


def _usable_keys(document: dict[str, Any]) -> list[_Key]:
    """The signing keys of a set; what is of no use here is left out. Raises ``KeySourceError``."""
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise KeySourceError("invalid key set: expected a JSON object with 'keys'")
    found = [key for entry in entries if (key := _key(entry)) is not None]
    if not found:
        raise KeySourceError("the key set has no public key for signatures")
    return found


def _key(entry: Any) -> _Key | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    algorithms = _algorithms(entry)
    key_id = entry.get("kid")
    if not algorithms or not isinstance(key_id, str | None):
        return None
    public = {name: entry[name] for name in _PUBLIC if name in entry}
    with contextlib.suppress(jwt.PyJWTError, ValueError, TypeError):
        key = jwt.PyJWK(public, algorithm=algorithms[0])
        if isinstance(key.Algorithm, RSAAlgorithm) and key.key.key_size < _LEAST_RSA_BITS:
            _LOG.warning("a key is left out: RSA with less than %d bits", _LEAST_RSA_BITS)
            return None
        return _Key(key_id, algorithms, key.key)
    _LOG.warning("a key is left out: it cannot be read (kid %r)", key_id)
    return None


def _algorithms(entry: dict[str, Any]) -> tuple[str, ...]:
    """The algorithms a key may be used with: by its kind, narrowed by what it says itself."""
    kind = entry.get("kty")
    if kind == "RSA":
        possible: tuple[str, ...] = _RSA
    elif kind in ("EC", "OKP") and entry.get("crv") in _CURVES:
        possible = (_CURVES[str(entry["crv"])],)
    else:
        return ()
    stated = entry.get("alg")
    return possible if stated is None else tuple(name for name in possible if name == stated)
