"""The types of a Configuration's fields, checked before any part of the sidecar reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dapr_common.words import kind_of

# A dict is a mapping with these fields, a one-element list a list of that, a type a scalar, a tuple
# one of several of these. A text may be given as any scalar, as Dapr's own reader allows; fields
# that are not named are ignored.
_RULES = [{"name": str, "type": str, "protocol": str, "version": str}]
_PIPELINE = {
    "handlers": [
        {"name": str, "type": str, "selector": {"fields": [{"field": str, "value": str}]}},
    ],
}
_METRICS = {
    "enabled": bool,
    "http": {"excludeVerbs": bool, "increasedCardinality": bool, "pathMatching": [str]},
    "latencyDistributionBuckets": [int],
    "recordErrorCodes": bool,
    "rules": [{"name": str, "labels": [{"name": str, "regex": {}}]}],
}
_LIMITS = [{"name": str, "maxConcurrent": int}]
_SPEC: Mapping[str, Any] = {
    "accessControl": {
        "defaultAction": str,
        "trustDomain": str,
        "policies": [
            {
                "appId": str,
                "defaultAction": str,
                "namespace": str,
                "trustDomain": str,
                "operations": [{"name": str, "action": str, "httpVerb": [str]}],
            },
        ],
    },
    "api": {"allowed": _RULES, "denied": _RULES},
    "appHttpPipeline": _PIPELINE,
    "components": {"deny": [str]},
    "features": [{"name": str, "enabled": bool}],
    "httpPipeline": _PIPELINE,
    "logging": {
        "apiLogging": {"enabled": bool, "obfuscateURLs": bool, "omitHealthChecks": bool},
    },
    "metric": _METRICS,
    "metrics": _METRICS,
    "mtls": {
        "allowedClockSkew": str,
        "controlPlaneTrustDomain": str,
        "enabled": bool,
        "sentryAddress": str,
        "tokenValidators": [{"name": str, "options": {}}],
        "workloadCertTTL": str,
    },
    "nameResolution": {"component": str, "configuration": {}, "version": str},
    "secrets": {
        "scopes": [
            {
                "allowedSecrets": [str],
                "defaultAccess": str,
                "deniedSecrets": [str],
                "storeName": str,
            },
        ],
    },
    "tracing": {
        "otel": {
            "endpointAddress": str,
            # ``name=value`` in files, as everywhere else in Dapr; the other is of Kubernetes.
            "headers": (
                str,
                [(str, {"name": str, "envRef": str, "secretKeyRef": {"name": str, "key": str}})],
            ),
            "isSecure": bool,
            "protocol": str,
            "timeout": str,
        },
        "samplingRate": str,
        "stdout": bool,
        "zipkin": {"endpointAddress": str},
    },
    "wasm": {"strictSandbox": bool},
    "workflow": {
        "activityConcurrencyLimits": _LIMITS,
        "globalMaxConcurrentActivityInvocations": int,
        "globalMaxConcurrentWorkflowInvocations": int,
        "maxConcurrentActivityInvocations": int,
        "maxConcurrentWorkflowInvocations": int,
        "stateRetentionPolicy": {
            "anyTerminal": str,
            "completed": str,
            "failed": str,
            "terminated": str,
        },
        "workflowConcurrencyLimits": _LIMITS,
    },
}
_WORDS = {bool: "true or false", int: "a whole number", str: "a text"}


class ShapeError(ValueError):
    """A field has the wrong type; the text names it."""


def check(spec: object) -> None:
    """Check a Configuration's ``spec``. Raises ``ShapeError``."""
    _check(spec, _SPEC, "spec")


def _check(value: object, shape: Any, where: str) -> None:
    if value is None:
        return
    if isinstance(shape, tuple):
        shape = next((each for each in shape if _is_such(value, each)), shape[-1])
    if isinstance(shape, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(where, "a mapping", value)
        for name, inner in shape.items():
            _check(value.get(name), inner, f"{where}.{name}")
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        for number, item in enumerate(value):
            _check(item, shape[0], f"{where}[{number}]")
    elif not _is_scalar(value, shape):
        raise _wrong(where, _WORDS[shape], value)


def _is_such(value: object, shape: Any) -> bool:
    """Whether a value is of the kind of a shape, whatever is in it."""
    if isinstance(shape, (Mapping, list)):
        return isinstance(value, Mapping if isinstance(shape, Mapping) else list)
    return _is_scalar(value, shape)


def _is_scalar(value: object, kind: type) -> bool:
    if kind is str:
        return isinstance(value, (str, bool, int, float))
    return type(value) is kind


def _wrong(where: str, expected: str, value: object) -> ShapeError:
    return ShapeError(f"{where} must be {expected}, not {kind_of(value)}")
