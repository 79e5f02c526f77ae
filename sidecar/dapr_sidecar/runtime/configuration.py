"""The active Configuration: files merged in order over Dapr's defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dapr_common.kube.manifests import ManifestError, log_level, parse_documents
from dapr_common.kube.resources import Configuration
from dapr_common.observe.logs import LEVELS, get_logger
from dapr_sidecar.runtime.configuration_shape import ShapeError, check

_LOG = get_logger("dapr.runtime.loader.configuration")
_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|([A-Za-z_]\w*|[*#$@!?\-0-9]))")
_DEFAULTS: Mapping[str, Any] = {
    "tracing": {},
    "metric": {},
    "metrics": {},
    "accessControl": {"defaultAction": "allow", "trustDomain": "public"},
    "secrets": {"scopes": []},
}
_FEATURES_ON = ("HotReload", "WorkflowsRemoteActivityReminder")


class ConfigurationError(ValueError):
    """A Configuration cannot be used; the sidecar does not start."""


def load_files(paths: Sequence[str], environment: Mapping[str, str]) -> Configuration:
    """Read and merge Configuration files; later ones win. Raises ``ConfigurationError``."""
    merged: dict[str, Any] = {}
    name = level = ""
    for path in paths:
        for document in _documents(path, environment):
            merge(merged, document.get("spec") or {})
            metadata = document.get("metadata")
            if isinstance(metadata, Mapping):
                name = str(metadata.get("name") or name)
                level = log_level(metadata) or level
    return with_defaults(Configuration(name, merged, log_level=level))


def checked(configuration: Configuration) -> Configuration:
    """A Configuration as it came, ready for use. Raises ``ConfigurationError``."""
    try:
        check(configuration.spec)
    except ShapeError as error:
        raise ConfigurationError(f"configuration {configuration.name}: {error}") from error
    if (level := configuration.log_level) and level.lower() not in LEVELS:
        raise ConfigurationError(
            f"configuration {configuration.name}: annotation dapr.io/log-level '{level}': "
            f"expected one of {', '.join(LEVELS)}"
        )
    return with_defaults(configuration)


def with_defaults(configuration: Configuration) -> Configuration:
    """Put Dapr's defaults under a spec."""
    spec: dict[str, Any] = {}
    merge(spec, _DEFAULTS)
    merge(spec, configuration.spec)
    _validate_secret_scopes(spec)
    return replace(configuration, spec=spec)


def enabled_features(configuration: Configuration) -> list[str]:
    """The names of the features that are on."""
    states = dict.fromkeys(_FEATURES_ON, True)
    for feature in configuration.spec.get("features") or []:  # type: ignore[attr-defined]
        states[str(feature.get("name"))] = bool(feature.get("enabled"))
    return [name for name, enabled in states.items() if enabled]


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace ``$NAME`` and ``${NAME}``; an unset variable becomes nothing."""
    return _VARIABLE.sub(lambda found: environment.get(found[1] or found[2] or "", ""), text)


def merge(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    """Merge mappings deeply; anything else in ``source`` replaces what ``target`` has."""
    for key, value in source.items():
        if isinstance(value, Mapping):
            existing = target.get(key)
            inner = dict(existing) if isinstance(existing, Mapping) else {}
            merge(inner, value)
            target[key] = inner
        elif value is not None:
            target[key] = value


def _documents(path: str, environment: Mapping[str, str]) -> list[Mapping[str, Any]]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"error loading configuration: {path}: {cause}") from error
    found: list[Mapping[str, Any]] = []
    for document in parse_documents(expand(text, environment), path):
        if isinstance(document, ManifestError):
            raise ConfigurationError(f"error loading configuration: {document}")
        if document.body.get("kind") in (None, "Configuration"):
            try:
                check(document.body.get("spec"))
            except ShapeError as error:
                raise ConfigurationError(f"error loading configuration: {path}: {error}") from error
            found.append(document.body)
    if not found:
        _LOG.warning("%s holds no Configuration, nothing is taken from it", path)
    return found


def _validate_secret_scopes(spec: Mapping[str, Any]) -> None:
    seen: set[str] = set()
    for scope in (spec.get("secrets") or {}).get("scopes") or []:
        store = str(scope.get("storeName"))
        if store in seen:
            raise ConfigurationError(f"{store} storeName is repeated in secrets configuration")
        seen.add(store)
        allowed, denied = scope.get("allowedSecrets") or [], scope.get("deniedSecrets") or []
        if both := set(allowed) & set(denied):
            raise ConfigurationError(
                f"secret {min(both)} of store {store} is in both allowedSecrets and deniedSecrets"
            )
