"""Which topics an app may publish to and subscribe to, from a component's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


def _names(text: str) -> frozenset[str]:
    return frozenset(part for part in text.replace(" ", "").split(",") if part)


def _scope(text: str, app_id: str) -> frozenset[str] | None:
    """The topics listed for the app; ``None`` when it is not mentioned."""
    topics: frozenset[str] | None = None
    for entry in text.replace(" ", "").split(";"):
        app, equals, listed = entry.partition("=")
        if equals and app == app_id:
            topics = frozenset(listed.split(","))
    return topics


@dataclass(frozen=True, slots=True)
class TopicScopes:
    """The decision for one app and one component. ``None``: no entry for the app."""

    publish: frozenset[str] | None = None
    subscribe: frozenset[str] | None = None
    allowed: frozenset[str] = frozenset()
    protected: frozenset[str] = frozenset()

    @classmethod
    def of(cls, properties: Mapping[str, str], app_id: str) -> TopicScopes:
        """Read them from component metadata with lower-cased names."""
        return cls(
            _scope(properties.get("publishingscopes", ""), app_id),
            _scope(properties.get("subscriptionscopes", ""), app_id),
            _names(properties.get("allowedtopics", "")),
            _names(properties.get("protectedtopics", "")),
        )

    def may_publish(self, topic: str) -> bool:
        """Whether the app may publish to the topic."""
        return self._may(topic, self.publish)

    def may_subscribe(self, topic: str) -> bool:
        """Whether the app may subscribe to the topic."""
        return self._may(topic, self.subscribe)

    def _may(self, topic: str, scope: frozenset[str] | None) -> bool:
        if self.allowed and topic not in self.allowed:
            return False
        if scope is None:
            return topic not in self.protected
        return topic in scope
