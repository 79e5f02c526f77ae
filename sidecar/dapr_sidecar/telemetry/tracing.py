"""From Configuration ``spec.tracing`` and the ``OTEL_*`` variables to a tracer with exporters."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote

from dapr_common.durations import parse_go_duration
from dapr_common.observe.exporters.base import Exporter
from dapr_common.observe.exporters.batch import BatchLimits, BatchSink, Fanout
from dapr_common.observe.logs import get_logger
from dapr_common.observe.tracing import SpanSink, Tracer

_LOG = get_logger("dapr.runtime")
_DEFAULT_RATE = 0.0001
_OTLP_TIMEOUT = 10.0
_MOST = 1_000_000
Environment = Mapping[str, str]


class TracingError(ValueError):
    """Tracing is configured in a way that cannot work; the sidecar does not start."""


@dataclass(frozen=True, slots=True)
class Otlp:
    """Where and how OTLP spans go; ``timeout`` in seconds."""

    endpoint: str
    protocol: str
    secure: bool
    headers: tuple[tuple[str, str], ...]
    timeout: float


class Tracing:
    """The tracer of a sidecar and everything behind it."""

    def __init__(
        self, rate: float, exporters: Sequence[Exporter], limits: BatchLimits | None = None
    ) -> None:
        self._batches = [BatchSink(exporter, limits) for exporter in exporters] if rate > 0 else []
        sink: SpanSink | None = None
        if self._batches:
            sink = self._batches[0] if len(self._batches) == 1 else Fanout(self._batches)
        self.tracer = Tracer(rate, sink)

    def tell_losses(self, tell: Callable[[str, int], None]) -> None:
        """From now on ``tell`` gets an exporter's name and how many spans did not get there.

        It gets a 0 for each exporter at once: a count has to be seen before it grows.
        """
        for batch in self._batches:
            batch.on_lost = partial(tell, batch.name)
            batch.on_lost(0)

    def start(self) -> None:
        """Begin to export."""
        for batch in self._batches:
            batch.start()

    async def close(self) -> None:
        """Export what is left; a few seconds at most."""
        await asyncio.gather(*(batch.close() for batch in self._batches))


def build_tracing(spec: Mapping[str, Any], environment: Environment, app_id: str) -> Tracing:
    """Build from ``spec.tracing``. Raises ``TracingError``."""
    otlp = otlp_settings(spec, environment)
    given = spec.get("samplingRate")
    if (given is None or str(given) == "") and otlp is not None and not _endpoint(spec):
        given = "1"
    rate = sampling_rate(given)
    resource = resource_attributes(environment, app_id)
    try:
        exporters = list(_exporters(spec, otlp, resource))
    except ValueError as error:
        raise TracingError(f"tracing configuration: {error}") from error
    return Tracing(rate, exporters, batch_limits(environment))


def batch_limits(environment: Environment) -> BatchLimits:
    """OpenTelemetry's ``OTEL_BSP_*`` variables; one that is no positive number is left out."""
    usual = BatchLimits()
    queue = _positive(environment, "MAX_QUEUE_SIZE", usual.max_queue)
    return BatchLimits(
        max_queue=queue,
        max_batch=min(_positive(environment, "MAX_EXPORT_BATCH_SIZE", usual.max_batch), queue),
        interval=_positive(environment, "SCHEDULE_DELAY", round(usual.interval * 1000)) / 1000,
        timeout=_positive(environment, "EXPORT_TIMEOUT", round(usual.timeout * 1000)) / 1000,
    )


def _positive(environment: Environment, name: str, usual: int) -> int:
    text = environment.get(f"OTEL_BSP_{name}", "").strip()
    if not text:
        return usual
    if text.isascii() and text.isdigit() and 0 < int(text[:10]) <= _MOST:
        return int(text)
    _LOG.warning(
        'OTEL_BSP_%s: expected a number between 1 and %d, got "%s"; %d is used',
        *(name, _MOST, text, usual),
    )
    return usual


def sampling_rate(given: object) -> float:
    """The share of new traces that is recorded; unset or unreadable means 0.0001."""
    try:
        rate = float(str(given))
    except ValueError:
        return _DEFAULT_RATE
    return _DEFAULT_RATE if math.isnan(rate) else rate


def resource_attributes(environment: Environment, app_id: str) -> dict[str, str]:
    """What every span says about its origin."""
    attributes = {"service.name": app_id}
    attributes |= dict(_pairs(environment.get("OTEL_RESOURCE_ATTRIBUTES", "")))
    if service := environment.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = service
    return attributes


def otlp_settings(spec: Mapping[str, Any], environment: Environment) -> Otlp | None:
    """The OTLP target: the Configuration's, otherwise the environment's."""
    otel = spec.get("otel") or {}
    if endpoint := _endpoint(spec):
        return Otlp(
            _without_scheme(endpoint),
            str(otel.get("protocol") or "grpc").lower(),
            otel.get("isSecure") is not False and not endpoint.startswith("http://"),
            tuple(_headers(otel.get("headers") or [], environment)),
            _timeout(otel.get("timeout")),
        )
    endpoint = _variable(environment, "ENDPOINT")
    if not endpoint:
        return None
    protocol = _variable(environment, "PROTOCOL")
    return Otlp(
        _without_scheme(endpoint),
        "http" if protocol.lower().startswith("http") else "grpc",
        # An http URL that were dialled with TLS could only fail.
        not endpoint.startswith("http://")
        and environment.get("OTEL_EXPORTER_OTLP_INSECURE", "").lower() != "true",
        tuple(_pairs(_variable(environment, "HEADERS"))),
        _timeout(_variable(environment, "TIMEOUT")),
    )


def _exporters(
    spec: Mapping[str, Any], otlp: Otlp | None, resource: Mapping[str, str]
) -> list[Exporter]:
    exporters: list[Exporter] = []
    if spec.get("stdout") is True:
        from dapr_common.observe.exporters.stdout import StdoutExporter

        exporters.append(StdoutExporter())
    if url := str((spec.get("zipkin") or {}).get("endpointAddress") or ""):
        from dapr_common.observe.exporters.zipkin import ZipkinExporter

        exporters.append(ZipkinExporter(url, resource))
    if otlp is not None:
        exporters.append(_otlp_exporter(otlp, resource))
    return exporters


def _otlp_exporter(otlp: Otlp, resource: Mapping[str, str]) -> Exporter:
    from dapr_common.observe.exporters.otlp import OtlpGrpcExporter, OtlpHttpExporter

    if otlp.protocol not in ("http", "grpc"):
        raise TracingError(f'otel.protocol: expected http or grpc, got "{otlp.protocol}"')
    kind = OtlpHttpExporter if otlp.protocol == "http" else OtlpGrpcExporter
    return kind(
        otlp.endpoint,
        resource,
        secure=otlp.secure,
        headers=otlp.headers,
        timeout=otlp.timeout,
    )


def _without_scheme(endpoint: str) -> str:
    return endpoint.removeprefix("https://").removeprefix("http://")


def _endpoint(spec: Mapping[str, Any]) -> str:
    return str((spec.get("otel") or {}).get("endpointAddress") or "")


def _variable(environment: Environment, name: str) -> str:
    return environment.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environment.get(
        f"OTEL_EXPORTER_OTLP_{name}", ""
    )


def _timeout(given: object) -> float:
    """Seconds; a bare number is milliseconds."""
    text = str(given or "").strip()
    if not text:
        return _OTLP_TIMEOUT
    try:
        seconds = int(text) / 1000
    except ValueError:
        try:
            seconds = parse_go_duration(text).total_seconds()
        except ValueError as error:
            raise TracingError(f"tracing configuration: otel.timeout: {error}") from error
    return seconds if seconds > 0 else _OTLP_TIMEOUT


def _headers(given: object, environment: Environment) -> list[tuple[str, str]]:
    """Headers as ``name=value`` texts (files) or as name and value (Kubernetes)."""
    found: list[tuple[str, str]] = []
    for entry in given if isinstance(given, list) else str(given).split(","):
        if not isinstance(entry, Mapping):
            key, equals, text = str(entry).partition("=")
            if equals and key.strip():
                found.append((key.strip(), text.strip()))
            continue
        name = str(entry.get("name") or "")
        value: object = entry.get("value")
        if value is None and entry.get("envRef"):
            value = environment.get(str(entry["envRef"]))
        if name and value is not None:
            found.append((name, str(value)))
        else:
            _LOG.warning("Trace exporter header %s has no value and is left out", name)
    return found


def _pairs(text: str) -> list[tuple[str, str]]:
    """``k=v,k=v`` with percent-encoded values."""
    found: list[tuple[str, str]] = []
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            found.append((unquote(name.strip()), unquote(value.strip())))
    return found
