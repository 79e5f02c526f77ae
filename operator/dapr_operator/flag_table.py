"""The flag surface of ``dapr-operator``: names, types, defaults and meanings of Dapr 1.18."""

from __future__ import annotations

from datetime import timedelta

from dapr_common.flags import Flag
from dapr_common.program import KUBECONFIG_FLAG, SERVICE_FLAGS

_OWN: tuple[Flag, ...] = (
    Flag("config", "string", "daprsystem", "name of the Configuration of the control plane"),
    Flag(
        "watch-interval",
        "string",
        "10s",
        "how often pods left without a sidecar are looked for and healed, at least 1s; "
        "once; 0, false, f, no or off is never",
    ),
    Flag(
        "max-pod-restarts-per-minute",
        "int",
        20,
        "pods the watchdog deletes in a minute at most; 0 is as many as there are",
    ),
    Flag(
        "watchdog-can-patch-pod-labels",
        "bool",
        False,
        "label pods that have a sidecar the injector did not make, so that nobody looks again",
    ),
    Flag("disable-leader-election", "bool", False, "this is the only operator: always lead"),
    Flag("disable-service-reconciler", "bool", False, "make no <app id>-dapr Services"),
    Flag(
        "enable-argo-rollout-service-reconciler",
        "bool",
        False,
        "make <app id>-dapr Services for Argo Rollouts as well",
    ),
    Flag("watch-namespace", "string", "", "look at this namespace only; empty is all"),
    Flag(
        "trust-anchors-file",
        "string",
        "/var/run/secrets/dapr.io/tls/ca.crt",
        "trust anchors of the control plane; waited for, and followed",
    ),
    Flag("port", "int", 6500, "port of the gRPC API for sidecars"),
    Flag("listen-address", "string", "", "address of the gRPC API; empty is all"),
    Flag("webhook-server-port", "int", 19443, "port of the webhooks (HTTPS)"),
    Flag("webhook-server-listen-address", "string", "", "address of the webhooks; empty is all"),
    Flag(
        "cache-sync-period",
        "duration",
        timedelta(0),
        "accepted, without effect: a watch that may have missed something lists again by itself",
    ),
    KUBECONFIG_FLAG,
)

FLAGS: tuple[Flag, ...] = tuple(sorted((*_OWN, *SERVICE_FLAGS), key=lambda flag: flag.name))
