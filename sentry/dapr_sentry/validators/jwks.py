"""The validator of tokens from anybody who publishes a JSON Web Key Set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from dapr_common.durations import parse_go_duration
from dapr_common.observe.logs import get_logger
from dapr_common.security.jwks import KeySet, KeySourceError, TokenError
from dapr_common.security.spiffe import SpiffeError, SpiffeId
from dapr_common.wire.dapr.proto.sentry.v1.sentry_pb2 import SignCertificateRequest
from dapr_sentry.validators.base import (
    ValidationError,
    Validator,
    ValidatorError,
    requested_trust_domain,
)

_LOG = get_logger("dapr.sentry.validator.jwks")
_LEEWAY_SECONDS = 300.0
_REFRESH_SECONDS, _LEAST_REFRESH = 600.0, 1.0
_TIMEOUT_SECONDS, _LEAST_TIMEOUT = 30.0, 0.001
_OPTIONS = ("source", "caCertificate", "minRefreshInterval", "requestTimeout")


@dataclass(frozen=True, slots=True)
class JwksOptions:
    """The options of the validator in the Configuration; durations in seconds."""

    source: str
    ca_certificate: str = ""
    min_refresh_interval: float = _REFRESH_SECONDS
    request_timeout: float = _TIMEOUT_SECONDS

    @classmethod
    def read(cls, options: Mapping[str, object]) -> JwksOptions:
        """Names in any case; durations too short to work are the default ones.

        Raises ``ValidatorError``.
        """
        given = {name.lower(): value for name, value in options.items()}
        known = {name.lower() for name in _OPTIONS}
        for name in options:
            if name.lower() not in known:
                _LOG.warning("token validator jwks: unknown option '%s' is ignored", name)
        source = _text(given.get("source"))
        if not source:
            raise ValidatorError("token validator jwks: option 'source' is required")
        refresh = _seconds(given, "minRefreshInterval")
        timeout = _seconds(given, "requestTimeout")
        return cls(
            source,
            _text(given.get("cacertificate")),
            refresh if refresh > _LEAST_REFRESH else _REFRESH_SECONDS,
            timeout if timeout > _LEAST_TIMEOUT else _TIMEOUT_SECONDS,
        )


class JwksValidator(Validator):
    """A token of a known key, made for sentry, whose subject is the identity asked for."""

    kind = SignCertificateRequest.JWKS
    target = "sentry-jwks-validator"

    def __init__(self, options: JwksOptions, *, trust_domain: str, namespace: str) -> None:
        self._audience = str(SpiffeId.make(trust_domain, namespace, "dapr-sentry"))
        self._keys = KeySet(
            options.source,
            ca_certificate=options.ca_certificate,
            min_refresh_interval=options.min_refresh_interval,
            request_timeout=options.request_timeout,
        )

    async def open(self) -> None:
        try:
            await self._keys.open()
        except KeySourceError as error:
            raise ValidatorError(f"token validator jwks: {error}") from error

    async def close(self) -> None:
        await self._keys.close()

    async def validate(self, request: SignCertificateRequest) -> str:
        if not request.token:
            raise ValidationError("the request does not contain a token")
        trust_domain = requested_trust_domain(request)
        try:
            subject = str(SpiffeId.make(trust_domain, request.namespace, request.id))
            claims = await self._keys.verify(
                request.token, audience=self._audience, issuer=None, leeway=_LEEWAY_SECONDS
            )
        except (SpiffeError, TokenError) as error:
            raise ValidationError(f"token validation failed: {error}") from error
        if claims.get("sub") != subject:
            raise ValidationError(f"token validation failed: the token's subject is not {subject}")
        return trust_domain


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _seconds(given: Mapping[str, object], name: str) -> float:
    """A Go duration or whole seconds; 0 when the option is not set. Raises ``ValidatorError``."""
    text = _text(given.get(name.lower()))
    try:
        duration = timedelta(seconds=int(text or 0)) if _is_whole(text) else parse_go_duration(text)
    except (ValueError, OverflowError) as error:
        raise ValidatorError(f"token validator jwks: invalid option '{name}': {error}") from error
    return duration.total_seconds()


def _is_whole(text: str) -> bool:
    return text.isascii() and (not text or text.isdigit())
