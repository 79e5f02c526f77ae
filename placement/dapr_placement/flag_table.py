"""The flag surface of ``dapr-placement``: names, types, defaults and meanings of Dapr 1.18."""

from __future__ import annotations

from datetime import timedelta

from dapr_common.flags import Flag
from dapr_common.program import SERVICE_FLAGS

DEFAULT_ID = "dapr-placement-0"
_UNUSED = "accepted, without effect: "

_OWN: tuple[Flag, ...] = (
    Flag("port", "int", 50005, "port sidecars report to (gRPC)"),
    Flag("listen-address", "string", "", "address sidecars report to; empty is all"),
    Flag("id", "string", DEFAULT_ID, "name of this server among several"),
    Flag(
        "initial-cluster",
        "stringSlice",
        [f"{DEFAULT_ID}=127.0.0.1:8201"],
        "all servers as id=host:port; this one must be among them. The addresses are without "
        "effect: which one leads is decided by --leader-lock",
    ),
    Flag(
        "leader-lock",
        "string",
        "",
        "what several servers decide by which one leads: consul://HOST:PORT/KEY, "
        "etcd://HOST:PORT[,HOST:PORT]/KEY, or their https forms consuls:// and etcds://; "
        "with --mode kubernetes and no lock it is a Lease. Alone, a server leads at once",
    ),
    Flag("leader-lock-token-file", "string", "", "file with Consul's ACL token"),
    Flag(
        "leader-lock-password-file",
        "string",
        "",
        "file with the password of etcd's user, name:text",
    ),
    Flag("leader-lock-ca-file", "string", "", "certificates the lock's server is checked against"),
    Flag("leader-lock-cert-file", "string", "", "certificate shown to the lock's server"),
    Flag("leader-lock-key-file", "string", "", "key of that certificate"),
    Flag(
        "disseminate-timeout",
        "duration",
        timedelta(seconds=8),
        "sidecars that have not answered for so long are dropped",
    ),
    Flag(
        "disseminate-coalesce-window",
        "duration",
        timedelta(0),
        "after a round changes are collected for so long, and share the next one",
    ),
    Flag("replicationFactor", "int", 100, "virtual nodes of a host on the hash ring"),
    Flag(
        "keepalive-time",
        "duration",
        timedelta(seconds=2),
        "a connection silent for so long is pinged, 1s to 10s",
    ),
    Flag(
        "keepalive-timeout",
        "duration",
        timedelta(seconds=3),
        "a ping must be answered within this time, 1s to 10s",
    ),
    Flag(
        "exit-when-idle",
        "duration",
        timedelta(0),
        "end once no sidecar has been connected for so long; 0 is never",
    ),
    Flag("metadata-enabled", "bool", False, "serve /placement/state beside /healthz"),
    Flag("tls-enabled", "bool", False, "serve by mutual TLS"),
    Flag("trust-domain", "string", "localhost", "trust domain of the control plane"),
    Flag(
        "trust-anchors-file",
        "string",
        "/var/run/secrets/dapr.io/tls/ca.crt",
        "trust anchors of the control plane; waited for, and followed",
    ),
    Flag(
        "sentry-address", "string", "", "where sentry is; empty is dapr-sentry.<namespace>.svc:443"
    ),
    Flag("mode", "string", "standalone", "standalone or kubernetes"),
    Flag("inmem-store-enabled", "bool", True, _UNUSED + "tables are made of what sidecars report"),
    Flag("raft-logstore-path", "string", "", _UNUSED + "there is no Raft log"),
    Flag("max-api-level", "int", 10, _UNUSED + "every API level is served", hidden=True),
    Flag("min-api-level", "int", 0, _UNUSED + "every API level is served", hidden=True),
)

FLAGS: tuple[Flag, ...] = tuple(sorted((*_OWN, *SERVICE_FLAGS), key=lambda flag: flag.name))
