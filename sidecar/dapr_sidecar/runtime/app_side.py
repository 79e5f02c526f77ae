"""How this sidecar reaches its app: the channel, the prober, the life cycle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Literal, cast

from dapr_common.durations import format_go_duration
from dapr_sidecar.blocks.metadata import AppConnection
from dapr_sidecar.channel.grpc import AppGrpcChannel
from dapr_sidecar.channel.health import AppHealthProber
from dapr_sidecar.channel.http import HttpChannel
from dapr_sidecar.options import Options
from dapr_sidecar.runtime.app import AppLifecycle, Feeder
from dapr_sidecar.telemetry.base import Metrics

Channel = HttpChannel | AppGrpcChannel


def make_channel(options: Options, metrics: Metrics) -> Channel | None:
    """The way to the app; ``None`` when there is none."""
    if not options.app_port:
        return None
    if options.app_protocol in ("grpc", "grpcs"):
        return AppGrpcChannel(
            options.app_channel_address,
            options.app_port,
            tls=options.app_protocol == "grpcs",
            token=options.app_token,
            max_concurrency=options.app_max_concurrency,
            max_message_bytes=options.max_body_bytes,
            after=metrics.grpc_client,
        )
    return HttpChannel(
        options.app_channel_address,
        options.app_port,
        protocol=cast(Literal["http", "https", "h2c"], options.app_protocol),
        token=options.app_token,
        max_concurrency=options.app_max_concurrency,
        max_header_bytes=options.read_buffer_bytes,
        metrics=metrics,
    )


def make_lifecycle(
    options: Options,
    channel: Channel | None,
    metrics: Metrics,
    first_time: Callable[[], Awaitable[None]],
    feeders: Sequence[Feeder],
) -> AppLifecycle | None:
    """What follows the app; ``None`` when there is none."""
    if channel is None:
        return None
    prober = None
    if options.app_health.enabled:
        checks = options.app_health
        prober = AppHealthProber(
            channel,
            path=checks.path,
            interval=checks.interval,
            timeout=checks.timeout,
            threshold=checks.threshold,
            metrics=metrics,
        )
    return AppLifecycle(
        options.app_channel_address,
        options.app_port,
        tls=options.app_protocol in ("https", "grpcs"),
        prober=prober,
        first_time=first_time,
        feeders=feeders,
    )


def describe_connection(options: Options) -> AppConnection:
    """The same for the metadata API."""
    health = None
    if options.app_health.enabled:
        checks = options.app_health
        health = (
            checks.path if options.app_protocol not in ("grpc", "grpcs") else "",
            format_go_duration(timedelta(seconds=checks.interval)),
            format_go_duration(timedelta(seconds=checks.timeout)),
            checks.threshold,
        )
    return AppConnection(
        options.app_port,
        options.app_protocol,
        options.app_channel_address,
        options.app_max_concurrency,
        health,
    )
