"""What a state component's manifest says beyond its connection: prefix, keys, outbox."""

from __future__ import annotations

from dataclasses import dataclass

from dapr_common.kube import resources
from dapr_common.words import is_truthy
from dapr_sidecar.blocks.state.encryption import Encryption
from dapr_sidecar.components.metadata import SettingsError

SEPARATOR = "||"


@dataclass(frozen=True, slots=True)
class OutboxSettings:
    """Where transactions are published to."""

    publish_pubsub: str
    publish_topic: str
    internal_pubsub: str
    discard_when_missing: bool


@dataclass(frozen=True, slots=True)
class StoreRules:
    """Derived from one manifest when the component is loaded."""

    prefix: str
    """With the separator, or empty."""

    encryption: Encryption | None
    outbox: OutboxSettings | None


def key_prefix(strategy: str, component: str, app_id: str, namespace: str) -> str:
    """The prefix of stored keys, separator included. Raises ``SettingsError``."""
    strategy = strategy.lower()
    if SEPARATOR in strategy:
        raise SettingsError(
            f"invalid metadata field 'keyPrefix': input key/keyPrefix '{strategy}' "
            f"can't contain '{SEPARATOR}'"
        )
    if strategy in ("", "appid"):
        prefix = app_id
    elif strategy == "name":
        prefix = component
    elif strategy == "namespace":
        prefix = f"{namespace}.{app_id}" if namespace else app_id
    elif strategy == "none":
        return ""
    else:
        prefix = strategy
    return prefix + SEPARATOR


def strip_prefix(stored: str) -> str:
    """A stored key as the user knows it."""
    parts = stored.split(SEPARATOR, 2)
    return parts[1] if len(parts) > 1 else stored


def store_rules(
    manifest: resources.Component, properties: dict[str, str], app_id: str, namespace: str
) -> StoreRules:
    """Read a manifest's resolved metadata. Raises ``SettingsError``."""
    strategy = properties.get("keyprefix", "")
    return StoreRules(
        key_prefix(strategy, manifest.name, app_id, namespace),
        Encryption.of(manifest, properties),
        _outbox(properties),
    )


def _outbox(properties: dict[str, str]) -> OutboxSettings | None:
    pubsub = properties.get("outboxpublishpubsub", "")
    topic = properties.get("outboxpublishtopic", "")
    if not pubsub or not topic:
        return None
    return OutboxSettings(
        pubsub,
        topic,
        properties.get("outboxpubsub", "") or pubsub,
        is_truthy(properties.get("outboxdiscardwhenmissingstate", "")),
    )
