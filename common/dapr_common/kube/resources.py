"""Dapr's custom resources as frozen, typed objects; the same from a file and from the operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class SecretKeyRef:
    """Where a value lives in a secret store; an empty ``key`` means ``name``."""

    name: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class NameValue:
    """One ``metadata`` or ``headers`` entry. ``value=None`` when only a reference is given."""

    name: str
    value: str | None = None
    secret_key_ref: SecretKeyRef | None = None
    env_ref: str = ""


@dataclass(frozen=True, slots=True)
class Component:
    """``kind: Component``."""

    name: str
    type: str
    version: str = "v1"
    metadata: tuple[NameValue, ...] = ()
    namespace: str = ""
    scopes: tuple[str, ...] = ()
    secret_store: str = ""
    init_timeout: timedelta = timedelta(seconds=5)
    ignore_errors: bool = False
    source: str = ""
    """Where it was read from, for messages."""

    @property
    def log_name(self) -> str:
        """``name (type/version)``, as Dapr's messages print it."""
        return f"{self.name} ({self.type}/{self.version})"

    @property
    def category(self) -> str:
        """The first word of the type, such as ``state``."""
        return self.type.split(".", 1)[0]


@dataclass(frozen=True, slots=True)
class Rule:
    """One routing rule; an empty ``match`` always matches."""

    match: str
    path: str


@dataclass(frozen=True, slots=True)
class BulkSubscribe:
    """Bulk delivery settings of a subscription."""

    enabled: bool = False
    max_messages_count: int = 0
    max_await_duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription from any source. ``rules`` are evaluated in order, the default last."""

    pubsub_name: str
    topic: str
    rules: tuple[Rule, ...] = ()
    default_route: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    dead_letter_topic: str = ""
    bulk: BulkSubscribe = BulkSubscribe()
    name: str = ""
    namespace: str = ""
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """``kind: HTTPEndpoint``; TLS values are PEM text after secrets were resolved."""

    name: str
    base_url: str
    headers: tuple[NameValue, ...] = ()
    root_ca: NameValue | None = None
    certificate: NameValue | None = None
    private_key: NameValue | None = None
    renegotiation: str = ""
    namespace: str = ""
    scopes: tuple[str, ...] = ()
    secret_store: str = ""


@dataclass(frozen=True, slots=True)
class Resiliency:
    """``kind: Resiliency``; ``spec`` is the parsed document, read by ``resiliency/``."""

    name: str
    spec: Mapping[str, object]
    namespace: str = ""
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """``kind: Configuration``; ``spec`` with Dapr's defaults already merged under it."""

    name: str = ""
    spec: Mapping[str, object] = field(default_factory=dict)
    namespace: str = ""
    log_level: str = ""
    """The annotation ``dapr.io/log-level``: of those who use it, in place of their flag."""
