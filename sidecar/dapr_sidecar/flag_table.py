"""The flag surface of ``daprd``: names, types, defaults and meanings of Dapr 1.18."""

from __future__ import annotations

from datetime import timedelta

from dapr_common.flags import Flag

_NO_EFFECT = " (accepted, has no effect)"
_YET = " (accepted, has no effect in this build)"

FLAGS: tuple[Flag, ...] = (
    Flag(
        "actors-disseminate-timeout",
        "duration",
        timedelta(seconds=30),
        "longest time of one dissemination of actor tables on this side",
    ),
    Flag("actors-service", "string", "", "type:address of the actors service", hidden=True),
    Flag(
        "allowed-origins",
        "string",
        "",
        'CORS origins of the HTTP API, comma separated; "*" allows every origin',
    ),
    Flag(
        "app-binding-options-timeout",
        "duration",
        timedelta(seconds=3),
        "time for asking the app which input bindings it wants",
    ),
    Flag("app-channel-address", "string", "127.0.0.1", "host where the app listens"),
    Flag("app-health-check-path", "string", "/healthz", "HTTP path probed on the app"),
    Flag("app-health-probe-interval", "int", 5, "seconds between app health probes"),
    Flag("app-health-probe-timeout", "int", 500, "milliseconds allowed per app health probe"),
    Flag("app-health-threshold", "int", 3, "failed probes before the app counts as unhealthy"),
    Flag("app-id", "string", "", "identity of the app; required"),
    Flag("app-max-concurrency", "int", -1, "cap on simultaneous calls into the app; -1 is none"),
    Flag("app-port", "string", "", "port of the app; empty means there is no app to call"),
    Flag("app-protocol", "string", "http", "http, https, h2c, grpc or grpcs"),
    Flag("app-ssl", "bool", False, "talk TLS to the app", True, "use --app-protocol https|grpcs"),
    Flag("build-info", "bool", False, "print build details and exit"),
    Flag("components-path", "string", "", "", True, "use --resources-path"),
    Flag(
        "config",
        "stringSlice",
        [],
        "Configuration file (repeatable, later ones win); in a cluster the object's name",
    ),
    Flag("control-plane-address", "string", "", "host:port of the operator; needed in a cluster"),
    Flag("control-plane-namespace", "string", "default", "namespace of the control plane"),
    Flag("control-plane-trust-domain", "string", "localhost", "control plane's trust domain"),
    Flag(
        "dapr-block-shutdown-duration",
        "duration",
        timedelta(0),
        "on SIGTERM keep serving for so long, or until the app is unhealthy",
    ),
    Flag(
        "dapr-graceful-shutdown-seconds",
        "int",
        5,
        "seconds allowed for a graceful stop; negative is the default, 0 has no limit",
    ),
    Flag("dapr-grpc-port", "string", "50001", "port of the gRPC API"),
    Flag("dapr-http-max-request-size", "int", 4, "", True, "use --max-body-size"),
    Flag("dapr-http-port", "string", "3500", "port of the HTTP API"),
    Flag("dapr-http-read-buffer-size", "int", 4, "", True, "use --read-buffer-size"),
    Flag(
        "dapr-internal-grpc-listen-address",
        "string",
        "",
        "bind address of the sidecar-to-sidecar server; empty means all",
    ),
    Flag(
        "dapr-internal-grpc-port",
        "string",
        "",
        "port of the sidecar-to-sidecar server; empty means one derived from the app id",
    ),
    Flag("dapr-listen-addresses", "string", "", "bind addresses of the APIs, comma separated"),
    Flag("dapr-public-listen-address", "string", "", "bind address of the public server"),
    Flag("dapr-public-port", "string", "", "port of a server with only health and metadata routes"),
    Flag(
        "disable-builtin-k8s-secret-store",
        "bool",
        False,
        "in a cluster, do not add the secret store named kubernetes",
    ),
    Flag(
        "disable-init-endpoints",
        "stringSlice",
        [],
        "skip calls to the app at start: config, subscribe",
    ),
    Flag("enable-api-logging", "bool", False, "log every API call; unset: Configuration decides"),
    Flag("enable-app-health-check", "bool", False, "probe the app's health"),
    Flag("enable-metrics", "bool", True, "serve Prometheus metrics"),
    Flag(
        "enable-mtls",
        "bool",
        False,
        "mutual TLS between sidecars and to the control plane; needs DAPR_TRUST_ANCHORS",
    ),
    Flag("enable-profiling", "bool", False, "Go profiling server" + _NO_EFFECT),
    Flag(
        "hot-reload-reconcile-interval",
        "duration",
        timedelta(0),
        "period of the full re-read of hot-reloaded resources; 0 means 60s",
    ),
    Flag("log-as-json", "bool", False, "log JSON objects instead of key=value text"),
    Flag("log-file", "string", "", "log to this file instead of standard output"),
    Flag("log-level", "string", "info", "debug, info, warn, error or fatal"),
    Flag("max-body-size", "string", "4Mi", "largest request body, a Kubernetes quantity"),
    Flag("metrics-listen-address", "string", "0.0.0.0", "bind address of the metrics server"),  # noqa: S104 - Dapr's default
    Flag("metrics-port", "string", "9090", "port of the metrics server"),
    Flag(
        "mode",
        "string",
        "standalone",
        "standalone; or kubernetes, where the operator has the resources",
    ),
    Flag(
        "placement-host-address",
        "string",
        "",
        "placement servers, host:port, comma separated; none: no actors",
    ),
    Flag("profile-port", "string", "7777", "port of the profiling server" + _NO_EFFECT),
    Flag("read-buffer-size", "string", "4Ki", "largest request header block, a quantity"),
    Flag("reminders-service", "string", "", "reminders service", hidden=True),
    Flag(
        "resources-path",
        "stringSlice",
        [],
        "directory with resource files, not in a cluster; repeatable",
    ),
    Flag(
        "scheduler-host-address",
        "stringSlice",
        [],
        "scheduler servers, host:port; none: reminders are in the actor state store, no jobs",
    ),
    Flag("scheduler-job-streams", "uint", 3, "streams of due jobs to each scheduler server"),
    Flag("sentry-address", "string", "", "host:port of the certificate authority"),
    Flag(
        "sentry-request-jwt-audiences",
        "stringSlice",
        [],
        "audiences of the JWT asked from sentry",
    ),
    Flag("unix-domain-socket", "string", "", "directory for API sockets instead of TCP ports"),
    Flag("version", "bool", False, "print the version and exit"),
    Flag("wait", "bool", False, "wait until the outbound health endpoint answers, then exit"),
)
