"""The certificate authority as the three files that sentry keeps on this machine."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from dapr_cli.errors import CliError
from dapr_common.security.authority import BundleError, CaBundle, Names, load_bundle
from dapr_common.security.private_files import write_private
from dapr_common.security.x509 import CertificateError, PrivateKey, read_private_key

CA, ISSUER, KEY = "ca.crt", "issuer.crt", "issuer.key"


def load(directory: Path) -> CaBundle:
    """What is there, also when it has ended. Raises ``CliError``."""
    paths = [directory / name for name in (CA, ISSUER, KEY)]
    try:
        ca_crt, issuer_crt, issuer_key = (path.read_bytes() for path in paths)
        return load_bundle(
            ca_crt=ca_crt,
            issuer_crt=issuer_crt,
            issuer_key=issuer_key,
            now=None,
            names=Names(*map(str, paths)),
        )
    except OSError as error:
        raise CliError(
            f"{error.filename} cannot be read: {error.strerror}",
            "Name the directory sentry was started with: --issuer-credentials DIR; or make an "
            "authority with 'dapr init --mtls', or mean the one of your cluster with -k.",
        ) from error
    except BundleError as error:
        raise CliError(str(error)) from error


def latest_root(bundle: CaBundle) -> x509.Certificate:
    """The anchor in use. Raises ``CliError``."""
    try:
        return bundle.nearest_root
    except BundleError as error:
        raise CliError(str(error)) from error


def read_key(path: Path | None) -> PrivateKey | None:
    """The key in a file, if one is named. Raises ``CliError``."""
    if path is None:
        return None
    try:
        return read_private_key(path.read_bytes())
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}") from error
    except CertificateError as error:
        raise CliError(f"{path}: {error}") from error


def write(directory: Path, bundle: CaBundle) -> None:
    """The trust anchors first: with more of them than before nothing stops working."""
    files = {CA: bundle.anchors_pem, KEY: bundle.key_pem, ISSUER: bundle.chain_pem}
    try:
        write_private({directory / name: content for name, content in files.items()})
    except OSError as error:
        raise CliError(f"{error.filename} cannot be written: {error.strerror}") from error
