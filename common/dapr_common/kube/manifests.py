"""YAML or JSON documents → typed resources. What cannot be read is named, never guessed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import yaml

from dapr_common.durations import parse_go_duration
from dapr_common.kube.resources import (
    BulkSubscribe,
    Component,
    Configuration,
    HttpEndpoint,
    NameValue,
    Resiliency,
    Rule,
    SecretKeyRef,
    Subscription,
)
from dapr_common.kube.yaml_text import load_yaml
from dapr_common.words import kind_of

Resource = Component | Configuration | HttpEndpoint | Resiliency | Subscription

_SEPARATOR = re.compile(r"^---.*$", re.MULTILINE)
_WHOLE_FLOATS = 1e21
_LOG_LEVEL = "dapr.io/log-level"
_BAD_NAMES = frozenset({".", ".."})
_V1, _V2 = "dapr.io/v1alpha1", "dapr.io/v2alpha1"
KINDS = frozenset(
    {
        (_V1, "Component"),
        (_V1, "Configuration"),
        (_V1, "HTTPEndpoint"),
        (_V1, "Resiliency"),
        (_V1, "Subscription"),
        (_V2, "Subscription"),
    }
)


class ManifestError(ValueError):
    """A document is not a usable resource; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document of a file, parsed but not yet typed."""

    body: Mapping[str, Any]
    source: str
    number: int = 1

    @property
    def key(self) -> tuple[str, str]:
        """apiVersion and kind; empty strings when absent."""
        return str(self.body.get("apiVersion", "")), str(self.body.get("kind", ""))


def split_documents(text: str) -> list[str]:
    """Split at lines starting with ``---``; what follows the dashes on the line is ignored."""
    return [part for part in _SEPARATOR.split(text) if part.strip()]


def parse_documents(text: str, source: str) -> Iterator[Document | ManifestError]:
    """Each document of a file on its own: a broken one does not lose its neighbours."""
    for number, part in enumerate(split_documents(text), start=1):
        where = f"{source} (document {number})"
        try:
            body = load_yaml(part)
        except (yaml.YAMLError, ValueError) as error:
            yield ManifestError(f"{where}: yaml cannot be parsed: {_one_line(error)}")
            continue
        if isinstance(body, Mapping):
            yield Document(body, source, number)


def typed(document: Document) -> Resource | None:
    """The typed resource; ``None`` for other kinds. Raises ``ManifestError``."""
    if document.key not in KINDS:
        return None
    try:
        return from_body(document.body, document.source)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        metadata = document.body.get("metadata")
        name = metadata.get("name") if isinstance(metadata, Mapping) else ""
        if not isinstance(name, str):
            name = ""
        raise ManifestError(
            f"{document.source} (document {document.number}): {document.key[1]} '{name}' "
            f"cannot be read: {_one_line(error)}"
        ) from error


def from_body(body: Mapping[str, Any], source: str = "") -> Resource:
    """Type a document whose apiVersion and kind are known."""
    body = _fields(body)
    metadata = _fields(body.get("metadata"))
    name = _text(metadata.get("name"))
    if name in _BAD_NAMES or "/" in name or "%" in name:
        raise ManifestError(f"invalid name '{name}': it must not be '.', '..' or hold '/' or '%'")
    namespace = _text(metadata.get("namespace"))
    kind = body.get("kind")
    if kind == "Component":
        return _component(body, name, namespace, source)
    if kind == "Subscription":
        return _subscription(body, name, namespace)
    if kind == "HTTPEndpoint":
        return _http_endpoint(body, name, namespace)
    scopes = _texts(body.get("scopes"), "scopes")
    spec = _mapping(body.get("spec"))
    if kind == "Resiliency":
        return Resiliency(name, spec, namespace, scopes)
    return Configuration(name, spec, namespace, log_level(metadata))


def log_level(metadata: Mapping[str, Any]) -> str:
    """What a Configuration's annotation says of its users' log level; empty without one."""
    return _text(_mapping(metadata.get("annotations")).get(_LOG_LEVEL))


def value_text(value: object) -> str:
    """A metadata value as text: strings as they are, everything else its JSON text."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE_FLOATS:
        value = int(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)


def _component(body: Mapping[str, Any], name: str, namespace: str, source: str) -> Component:
    spec = _fields(body.get("spec"))
    timeout = spec.get("initTimeout")
    return Component(
        name=name,
        type=_text(spec.get("type")),
        version=_text(spec.get("version")) or "v1",
        metadata=tuple(_name_value(item) for item in _sequence(spec.get("metadata"), "metadata")),
        namespace=namespace,
        scopes=_texts(body.get("scopes"), "scopes"),
        secret_store=_text(_fields(body.get("auth")).get("secretStore")),
        init_timeout=_init_timeout(timeout),
        ignore_errors=_boolean(spec.get("ignoreErrors"), "ignoreErrors"),
        source=source,
    )


def _init_timeout(value: object) -> timedelta:
    default = timedelta(seconds=5)
    try:
        found = parse_go_duration(_text(value)) if value else default
    except ValueError:
        return default  # Dapr's rule: an unparsable timeout is the default one
    return found if found > timedelta(0) else default


def _name_value(item: object) -> NameValue:
    entry = _fields(item)
    if not (name := entry.get("name")):
        raise ManifestError("an entry of metadata has no name")
    reference, value = entry.get("secretKeyRef"), entry.get("value")
    return NameValue(
        name=_text(name),
        value=None if value is None else value_text(value),
        secret_key_ref=_secret_key_ref(reference) if reference else None,
        env_ref=_text(entry.get("envRef")),
    )


def _secret_key_ref(reference: object) -> SecretKeyRef:
    entry = _fields(reference)
    return SecretKeyRef(_text(entry.get("name")), _text(entry.get("key")))


def _subscription(body: Mapping[str, Any], name: str, namespace: str) -> Subscription:
    spec = _fields(body.get("spec"))
    rules: tuple[Rule, ...] = ()
    default = _text(spec.get("route"))
    if body.get("apiVersion") == _V2:
        routes = _fields(spec.get("routes"))
        default = _text(routes.get("default"))
        rules = tuple(
            Rule(_text(rule.get("match")), _text(rule.get("path")))
            for rule in map(_fields, _sequence(routes.get("rules"), "rules"))
        )
    bulk = _fields(spec.get("bulkSubscribe"))
    return Subscription(
        pubsub_name=_text(spec.get("pubsubname")),
        topic=_text(spec.get("topic")),
        rules=rules,
        default_route=default,
        metadata={str(k): value_text(v) for k, v in _mapping(spec.get("metadata")).items()},
        dead_letter_topic=_text(spec.get("deadLetterTopic")),
        bulk=BulkSubscribe(
            enabled=_boolean(bulk.get("enabled"), "bulkSubscribe.enabled"),
            max_messages_count=int(bulk.get("maxMessagesCount") or 0),
            max_await_duration_ms=int(bulk.get("maxAwaitDurationMs") or 0),
        ),
        name=name,
        namespace=namespace,
        scopes=_texts(body.get("scopes"), "scopes"),
    )


def _http_endpoint(body: Mapping[str, Any], name: str, namespace: str) -> HttpEndpoint:
    spec = _fields(body.get("spec"))
    tls = _fields(spec.get("clientTLS"))
    return HttpEndpoint(
        name=name,
        base_url=_text(spec.get("baseUrl")),
        headers=tuple(_name_value(item) for item in _sequence(spec.get("headers"), "headers")),
        root_ca=_tls_value("rootCA", tls),
        certificate=_tls_value("certificate", tls),
        private_key=_tls_value("privateKey", tls),
        renegotiation=_text(tls.get("renegotiation")),
        namespace=namespace,
        scopes=_texts(body.get("scopes"), "scopes"),
        secret_store=_text(_fields(body.get("auth")).get("secretStore")),
    )


def _tls_value(name: str, tls: Mapping[str, Any]) -> NameValue | None:
    if not (entry := tls.get(name)):
        return None
    return _name_value({"name": name, **_mapping(entry)})


class _Fields(dict[str, Any]):
    """Members of an object whose names may be written in any case, as Go's JSON reads them."""

    def get(self, name: str, default: Any = None) -> Any:
        """The member of this spelling, or else the first of another one."""
        if name in self:
            return self[name]
        wanted = name.lower()
        return next((value for key, value in self.items() if str(key).lower() == wanted), default)


def _fields(value: object) -> _Fields:
    return _Fields(_mapping(value))


def _mapping(value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ManifestError(f"expected a mapping, got {kind_of(value)}")
    return value


def _sequence(value: object, what: str) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ManifestError(f"{what} must be a list")
    return value


def _texts(value: object, what: str) -> tuple[str, ...]:
    return tuple(_text(entry) for entry in _sequence(value, what))


def _text(value: object) -> str:
    """A field that is text: unquoted numbers and words as YAML wrote them, as Go reads them."""
    if value is None:
        return ""
    if isinstance(value, (Mapping, list)):
        raise ManifestError(f"expected a text, got {kind_of(value)}")
    return value_text(value)


def _boolean(value: object, what: str) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ManifestError(f"{what} must be true or false")
    return value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
