"""What a Configuration says about logs, metrics and traces."""

from __future__ import annotations

from dataclasses import replace

from dapr_common.kube.schema import parts
from dapr_common.kube.schema.fields import (
    boolean,
    integer,
    mapping,
    record,
    required,
    sequence,
    text,
    texts,
)

LOGGING = record(
    "What is logged.",
    apiLogging=record(
        "A line for each call of the API.",
        enabled=boolean("Whether calls are logged."),
        obfuscateURLs=boolean("Log the name of the endpoint instead of the URL."),
        omitHealthChecks=boolean("Leave calls of health endpoints out."),
    ),
)

_METRIC_RULE = record(
    "One metric.",
    name=required(text("Its name.")),
    labels=required(
        sequence(
            "Its labels.",
            record(
                "One label.",
                name=required(text("Its name.")),
                regex=required(mapping("Regular expressions by their replacement.", text())),
            ),
        )
    ),
)

_METRICS = record(
    "What is measured.",
    enabled=required(boolean("Whether there are metrics.")),
    http=record(
        "Metrics of HTTP.",
        increasedCardinality=boolean("Label requests with method and path."),
        pathMatching=texts("Patterns that paths are grouped by, such as /orders/{id}."),
        excludeVerbs=boolean("Leave the HTTP method out."),
    ),
    latencyDistributionBuckets=sequence(
        "Upper ends of the buckets of latencies, in ms.", integer("One end.")
    ),
    recordErrorCodes=boolean("Count error codes."),
    rules=sequence("Labels that are rewritten.", _METRIC_RULE),
)

METRICS = replace(_METRICS, default={"enabled": True})

TRACING = record(
    "What is traced and where traces go.",
    samplingRate=required(text("Share of traces that are recorded, from 0 to 1, as a string.")),
    stdout=boolean("Write traces to the log."),
    zipkin=record(
        "Send traces to Zipkin.",
        endpointAddress=required(text("URL of its API.")),
    ),
    otel=record(
        "Send traces by OTLP.",
        endpointAddress=required(text("Host and port of the collector.")),
        protocol=required(text("http or grpc.")),
        isSecure=required(boolean("Use TLS.")),
        headers=sequence("Headers added to every request.", parts.name_value("One header.")),
        timeout=text("How long a request may take, as a Go duration."),
    ),
)
