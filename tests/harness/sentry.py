"""A real dapr-sentry, and sidecars with identities from it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from harness.http_call import call
from harness.programs import Program, accepts_connections, console_script, free_port
from harness.sidecar import Sidecar, resource


class Sentry(Program):
    """One dapr-sentry on free ports with its CA in ``credentials``, a folder of its own."""

    def __init__(
        self,
        *,
        mtls: Mapping[str, Any] | None = None,
        trust_domain: str = "localhost",
        credentials: Path | None = None,
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        exit_code: int | None = 0,
    ) -> None:
        self.port, self.healthz_port, self.metrics_port = (free_port() for _ in range(3))
        self.trust_domain = trust_domain
        self.folder = Path(tempfile.mkdtemp(prefix="sentry-"))
        self._remove_folder = weakref.finalize(self, shutil.rmtree, self.folder, True)
        self.credentials = credentials or self.folder / "credentials"
        self.credentials.mkdir(exist_ok=True)
        config = self.folder / "config.yaml"
        spec = {"mtls": {"enabled": True, **(mtls or {})}}
        config.write_text(yaml.safe_dump(resource("Configuration", "config", spec)))
        values = {
            "config": config,
            "issuer-credentials": self.credentials,
            "trust-domain": trust_domain,
            "port": self.port,
            "healthz-port": self.healthz_port,
            "metrics-port": self.metrics_port,
            "log-level": "debug",
        }
        command = [console_script("dapr-sentry"), *(f"--{k}={v}" for k, v in values.items())]
        super().__init__(
            [*command, *flags], name="dapr-sentry", env=env, cwd=self.folder, exit_code=exit_code
        )

    def is_ready(self) -> bool:
        if not accepts_connections(self.healthz_port):
            return False
        return call(self.healthz_port, "GET", "/healthz").status == 200

    @property
    def address(self) -> str:
        """``host:port`` of the gRPC API."""
        return f"127.0.0.1:{self.port}"

    @property
    def anchors(self) -> str:
        """The trust anchors, PEM."""
        return (self.credentials / "ca.crt").read_text()


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
            f"--sentry-address={sentry.address}",
            f"--control-plane-trust-domain={sentry.trust_domain}",
            *flags,
        ],
        env={"DAPR_TRUST_ANCHORS": sentry.anchors, "NAMESPACE": namespace, **(env or {})},
        **more,
    )
