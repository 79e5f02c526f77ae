"""A daprd pair with mutual TLS, and the sentry that gives it identities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.contenders import Daprd
from benchmarks.programs import Program, free_port
from benchmarks.results import SECURED

_CONFIGURATION = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: sentry}
spec:
  mtls: {enabled: true}
"""


class Sentry:
    """A running dapr-sentry with a certificate authority of its own."""

    def __init__(self, program: Program, port: int, anchors: str) -> None:
        self._program = program
        self.port = port
        self.anchors = anchors

    @classmethod
    async def start(cls, daprd: Path, cores: frozenset[int], folder: Path) -> Sentry:
        """The dapr-sentry beside this daprd. Raises ``BenchmarkError``."""
        configuration, credentials = folder / "sentry.yaml", folder / "credentials"
        configuration.write_text(_CONFIGURATION)
        credentials.mkdir()
        port, health = free_port(), free_port()
        command = [str(daprd.with_name("dapr-sentry")), "--config", str(configuration)]
        command += ["--issuer-credentials", str(credentials), "--port", str(port)]
        command += ["--healthz-port", str(health), "--metrics-port", str(free_port())]
        program = Program(command, cores, folder / "sentry.log")
        try:
            await program.ready(health, "/healthz")
            anchors = (credentials / "ca.crt").read_text()
        except BaseException:
            await program.stop()
            raise
        return cls(program, port, anchors)

    async def stop(self) -> None:
        """End the process."""
        await self._program.stop()


class SecuredDaprd(Daprd):
    """The same daprd with an identity."""

    def __init__(
        self, sentry: Sentry, program: Path, folder: Path, redis_port: int, cores: frozenset[int]
    ) -> None:
        super().__init__(SECURED, program, folder, redis_port, cores)
        self._sentry = sentry

    def _environment(self) -> Mapping[str, str]:
        return {**super()._environment(), "DAPR_TRUST_ANCHORS": self._sentry.anchors}

    def _more_flags(self) -> Sequence[str]:
        return ["--enable-mtls", "--sentry-address", f"127.0.0.1:{self._sentry.port}"]
