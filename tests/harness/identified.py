"""Sidecars and placement servers with identities from a real sentry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.placement_process import Placement
from harness.sentry import Sentry
from harness.sidecar import Sidecar


def identified(
    sentry: Sentry,
    app_id: str = "",
    *,
    namespace: str = "default",
    flags: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    **more: Any,
) -> Sidecar:
    """A sidecar with mutual TLS and this namespace."""
    return Sidecar(
        app_id,
        flags=[
            "--enable-mtls",
            f"--sentry-address=127.0.0.1:{sentry.port}",
            f"--control-plane-trust-domain={sentry.trust_domain}",
            f"--control-plane-namespace={sentry.namespace}",
            *flags,
        ],
        env={
            "DAPR_TRUST_ANCHORS": sentry.anchors_pem.decode(),
            "NAMESPACE": namespace,
            **(env or {}),
        },
        **more,
    )


def identified_placement(sentry: Sentry, folder: Path) -> Placement:
    """A placement server with mutual TLS; ``folder`` is for the file of its trust anchors."""
    anchors = folder / "ca.crt"
    anchors.write_bytes(sentry.anchors_pem)
    flags = [
        "--tls-enabled",
        f"--trust-anchors-file={anchors}",
        f"--sentry-address=127.0.0.1:{sentry.port}",
        f"--trust-domain={sentry.trust_domain}",
    ]
    return Placement(*flags, env={"NAMESPACE": sentry.namespace})
