"""A registry's exposition text, read by Prometheus' own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from dapr_common.observe.metrics import Registry

Labels = frozenset[tuple[str, str]]


def labels(**given: str) -> Labels:
    """A label set as ``samples`` shows it."""
    return frozenset(given.items())


def samples(registry: Registry) -> dict[str, dict[Labels, float]]:
    """Sample name to labels to value; the parser takes ``_total`` off the names of counters."""
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(registry.render().decode()):
        for sample in family.samples:
            name = family.name if family.type == "counter" else sample.name
            found.setdefault(name, {})[frozenset(sample.labels.items())] = sample.value
    return found
