"""Certificates of this machine: sentry's files, and what running sidecars present."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from dapr_cli.authority_files import KEY, load
from dapr_cli.check.findings import EXPIRY_WARNING, Finding, of_validity
from dapr_cli.errors import CliError
from dapr_cli.instances import Instance
from dapr_cli.presented import presented

_AREA = "certificates"
_RENEW = "Run 'dapr mtls renew-certificate'; a running sentry takes the new files over."
_WORKLOAD_SHARE = 5
"""Workload certificates are renewed half-way: a fifth of the life left says they are not."""


def check_authority(directory: Path, now: datetime, *, wanted: bool) -> Iterator[Finding]:
    """Sentry's files; ``wanted`` when apps are to speak mutual TLS."""
    if not directory.is_dir() or not any(directory.iterdir()):
        if wanted:
            text = "has no certificates, and the configuration turns mutual TLS on"
            fix = "Run 'dapr init --mtls', or take spec.mtls out of the configuration."
            yield Finding("error", _AREA, str(directory), text, fix)
        return
    try:
        bundle = load(directory)
        root = bundle.nearest_root
    except (CliError, ValueError) as error:
        fix = f"Remove {directory}: 'dapr init --mtls' makes new ones."
        yield Finding("error", _AREA, str(directory), str(error), fix)
        return
    for name, one in (("root certificate", root), ("issuer certificate", bundle.issuer)):
        if found := _dates(f"{name} in {directory}", one, now, _RENEW, EXPIRY_WARNING):
            yield found
    if (directory / KEY).stat().st_mode & 0o077:
        text = "can be read by other users: whoever has it can be any app"
        yield Finding("error", _AREA, str(directory / KEY), text, f"chmod 600 {directory / KEY}")


def check_workloads(running: Sequence[Instance], now: datetime) -> Iterator[Finding]:
    """The certificate of every sidecar that speaks mutual TLS."""
    for instance in running:
        if not (instance.mtls and instance.internal_grpc_port):
            continue
        subject = f"{instance.app_id} (pid {instance.daprd_pid})"
        certificate = presented(instance.internal_grpc_port)
        if certificate is None:
            text = "presents no certificate on its internal port"
            fix = "Is sentry running? Its log says why none was issued."
            yield Finding("error", _AREA, subject, text, fix)
            continue
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        fix = "Is sentry running? Sidecars renew half-way; restart the app if sentry is there."
        soon = (ends - begins) / _WORKLOAD_SHARE
        if found := _dates(f"certificate of {subject}", certificate, now, fix, soon):
            yield found


def _dates(
    subject: str, one: x509.Certificate, now: datetime, fix: str, soon: timedelta
) -> Finding | None:
    return of_validity(subject, one.not_valid_before_utc, one.not_valid_after_utc, now, fix, soon)
