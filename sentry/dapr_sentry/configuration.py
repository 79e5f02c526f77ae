"""What sentry takes from a Configuration: ``spec.mtls``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from dapr_common.durations import parse_go_duration
from dapr_common.kube.manifests import ManifestError, parse_documents

DEFAULT_TTL = timedelta(hours=24)
DEFAULT_CLOCK_SKEW = timedelta(minutes=15)
_VALIDATORS = ("jwks",)
_DEFAULT_ONES = ("kubernetes", "insecure")


class ConfigurationError(ValueError):
    """A Configuration cannot be used: where, what is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class TokenValidator:
    """An entry of ``tokenValidators``; the name is in lower case."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Configuration:
    """How certificates are issued, and who may have them."""

    ttl: timedelta = DEFAULT_TTL
    clock_skew: timedelta = DEFAULT_CLOCK_SKEW
    token_validators: tuple[TokenValidator, ...] = ()


def load_file(path: str) -> Configuration:
    """The last Configuration of a file. Raises ``ConfigurationError``."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"error loading configuration: {path}: {cause}: name a Configuration file with --config"
        ) from error
    spec: object = {}
    for document in parse_documents(text, path):
        if isinstance(document, ManifestError):
            raise ConfigurationError(f"error loading configuration: {document}")
        if document.body.get("kind") in (None, "Configuration"):
            spec = document.body.get("spec")
    return from_spec(spec, path)


def from_spec(spec: object, source: str) -> Configuration:
    """Read ``spec.mtls``. Raises ``ConfigurationError``."""
    mtls = _mapping(_mapping(spec, source, "spec").get("mtls"), source, "spec.mtls")
    return Configuration(
        ttl=_duration(mtls, "workloadCertTTL", DEFAULT_TTL, source, least=timedelta(seconds=1)),
        clock_skew=_duration(
            mtls, "allowedClockSkew", DEFAULT_CLOCK_SKEW, source, least=timedelta(0)
        ),
        token_validators=_token_validators(mtls.get("tokenValidators"), source),
    )


def _mapping(value: object, source: str, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{source}: {where}: expected an object")
    return value


def _duration(
    mtls: Mapping[str, Any], name: str, default: timedelta, source: str, *, least: timedelta
) -> timedelta:
    text = mtls.get(name)
    if text in (None, ""):
        return default
    try:
        duration = parse_go_duration(str(text))
    except ValueError as error:
        raise ConfigurationError(f"{source}: spec.mtls.{name}: {error}") from error
    if duration < least:
        raise ConfigurationError(
            f"{source}: spec.mtls.{name}: {text} is too short: at least "
            f"{least.total_seconds():g}s is needed"
        )
    return duration


def _token_validators(entries: object, source: str) -> tuple[TokenValidator, ...]:
    where = f"{source}: spec.mtls.tokenValidators"
    if entries is None:
        return ()
    if not isinstance(entries, list):
        raise ConfigurationError(f"{where}: expected a list")
    found: dict[str, TokenValidator] = {}
    for entry in entries:
        one = _mapping(entry, source, "spec.mtls.tokenValidators[]")
        name = str(one.get("name") or "").lower()
        if name in _DEFAULT_ONES:
            raise ConfigurationError(f"{where}: {name} cannot be configured: it is built in")
        if name not in _VALIDATORS:
            raise ConfigurationError(f"{where}: unknown validator '{name}': use jwks")
        if name in found:
            raise ConfigurationError(f"{where}: {name} is there twice")
        found[name] = TokenValidator(name, _mapping(one.get("options"), where, "options"))
    return tuple(found.values())
