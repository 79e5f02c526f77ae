"""The certificate authority that ``dapr init --mtls`` makes for the apps of this machine."""

from __future__ import annotations

from datetime import UTC, datetime

from dapr_cli.authority_files import load, write
from dapr_cli.console import Console
from dapr_cli.daprd_command import wants_mtls
from dapr_cli.errors import CliError
from dapr_cli.install import Install
from dapr_cli.local_sentry import NAMESPACE, TRUST_DOMAIN
from dapr_common.security.authority import BundleError, Life, new_bundle, require_valid
from dapr_common.security.x509 import CertificateError


def set_up(install: Install, console: Console) -> None:
    """Make the authority unless there is one, which is kept. Raises ``CliError``."""
    if not wants_mtls(install.config):
        raise CliError(
            f"{install.config} was changed by you and is kept, but mutual TLS is not on in it",
            "Add to its spec: 'mtls: {enabled: true}', then run 'dapr init --mtls' again.",
        )
    now = datetime.now(UTC)
    if install.certs.is_dir() and any(install.certs.iterdir()):
        try:
            require_valid(load(install.certs), now)
        except (BundleError, CertificateError, CliError) as error:
            raise CliError(
                f"the certificates in {install.certs} cannot be used: {error}",
                "'dapr mtls renew-certificate' renews expired ones; or remove that directory.",
            ) from error
        console.success("certs is kept as it is")
        return
    bundle = new_bundle(TRUST_DOMAIN, NAMESPACE, Life.of(now))
    write(install.certs, bundle)
    ends = bundle.issuer.not_valid_after_utc
    console.success(f"certs written: a certificate authority, valid until {ends:%Y-%m-%d}")
    console.info("Apps of 'dapr run' now speak mutual TLS; 'dapr mtls expiry' says how long")
