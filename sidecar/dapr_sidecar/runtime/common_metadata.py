"""Metadata that blocks read, whatever the component; a component's own settings do not list it."""

from __future__ import annotations

from collections.abc import Mapping

COMMON_NAMES: Mapping[str, frozenset[str]] = {
    "state": frozenset(
        {
            "actorstatestore",
            "keyprefix",
            "outboxpublishpubsub",
            "outboxpublishtopic",
            "outboxpubsub",
            "outboxdiscardwhenmissingstate",
            "primaryencryptionkey",
            "secondaryencryptionkey",
        }
    ),
    "pubsub": frozenset(
        {
            "consumerid",
            "allowedtopics",
            "protectedtopics",
            "publishingscopes",
            "subscriptionscopes",
        }
    ),
    "bindings": frozenset({"direction", "route"}),
    "lock": frozenset({"keyprefix"}),
}

SECRET_NAMES = frozenset({"primaryencryptionkey", "secondaryencryptionkey"})
"""Those of them that no message may show."""
