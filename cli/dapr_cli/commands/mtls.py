"""``dapr mtls``: the certificate authority that sentry keeps in files of this machine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from cryptography import x509

from dapr_cli.errors import CliError
from dapr_cli.session import Verb, global_options, kubernetes_option, session
from dapr_common.security.authority import BundleError, CaBundle, Life, Names, load_bundle
from dapr_common.security.private_files import write_private
from dapr_common.security.rotation import has_root_of, renewed_issuer, rotated
from dapr_common.security.x509 import CertificateError, PrivateKey, read_private_key

_CA, _ISSUER, _KEY = "ca.crt", "issuer.crt", "issuer.key"
_ALIASES = {"renew-cert": "renew-certificate", "rnc": "renew-certificate"}


class Verbs(click.Group):
    """The verbs below ``dapr mtls``, with their short names."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, _ALIASES.get(cmd_name, cmd_name))


@click.group(
    "mtls",
    cls=Verbs,
    params=global_options(),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@kubernetes_option
def mtls_command() -> None:
    """Inspect, export or renew sentry's certificate authority."""


def _credentials_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--issuer-credentials",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="The directory sentry was given under this name.  [default: .dapr/certs]",
    )(function)


@mtls_command.command("expiry", cls=Verb)
@_credentials_option
@kubernetes_option
def expiry_command(issuer_credentials: Path | None) -> int:
    """See when the root and the issuer certificate end; exit code 1 when one has ended."""
    bundle = _load(_directory(issuer_credentials))
    return max(_expiry("Root", _root(bundle)), _expiry("Issuer", bundle.issuer))


@mtls_command.command("export", cls=Verb)
@_credentials_option
@click.option(
    "-o",
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    required=True,
    help="Where ca.crt, issuer.crt and issuer.key are written.",
)
@kubernetes_option
def export_command(issuer_credentials: Path | None, out: Path) -> None:
    """Write the trust anchors, the issuer certificate and its key to another directory."""
    directory = _directory(issuer_credentials)
    if out.resolve() == directory.resolve():
        raise CliError(f"{out} is where they are already", "Choose another directory: --out DIR")
    _write(out, _load(directory))
    session().console.success(f"Trust certs successfully exported to {out}")


@mtls_command.command("renew-certificate", cls=Verb)
@_credentials_option
@click.option(
    "--valid-until",
    metavar="DAYS",
    type=click.IntRange(1, 36500),
    default=365,
    show_default=True,
    help="How long the new certificates are valid.",
)
@click.option(
    "--private-key",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The root's key: the root stays and only the issuer is new. Another key: a new root's.",
)
@click.option(
    "--issuer-only",
    is_flag=True,
    help="Keep the root without its key: the present issuer signs the new one.",
)
@kubernetes_option
def renew_certificate_command(
    issuer_credentials: Path | None, valid_until: int, private_key: Path | None, issuer_only: bool
) -> None:
    """Renew the root and the issuer certificate while everybody goes on trusting everybody.

    The old root stays in ca.crt. A running sentry takes the new files over by itself, and
    whoever knows only the old root trusts new certificates until the old issuer ends.
    """
    directory = _directory(issuer_credentials)
    before = _load(directory)
    now = datetime.now(UTC)
    life = Life.of(now, timedelta(days=valid_until))
    key = _read_key(private_key)
    keeps_root = issuer_only or (key is not None and has_root_of(before, key))
    try:
        after = renewed_issuer(before, life, key) if keeps_root else rotated(before, now, life, key)
    except BundleError as error:
        raise CliError(str(error)) from error
    _write(directory, after)
    _report(directory, before, after)


def _report(directory: Path, before: CaBundle, after: CaBundle) -> None:
    console = session().console
    ends = _date(after.issuer.not_valid_after_utc)
    if after.anchors == before.anchors:
        console.success(f"A new issuer certificate is in {directory}, valid until {ends}")
        return
    console.success(f"A new root and issuer certificate are in {directory}, valid until {ends}")
    if len(after.chain) == 1:
        console.warning(
            "The old issuer had ended: programs that know only the old root trust nothing now. "
            f"Give them the new {_CA}"
        )
        return
    console.info(
        f"Give the new {_CA} to programs that were started with the old one by "
        f"{_date(after.chain[1].not_valid_after_utc)}"
    )


def _expiry(which: str, certificate: x509.Certificate) -> int:
    ends = certificate.not_valid_after_utc
    left = ends - datetime.now(UTC)
    if left <= timedelta(0):
        session().console.failure(f"{which} certificate has expired. Expiry date: {_date(ends)}")
        return 1
    hours = left // timedelta(hours=1)
    click.echo(f"{which} certificate expires in {hours} hours. Expiry date: {_date(ends)}")
    return 0


def _date(moment: datetime) -> str:
    return f"{moment:%a, %d %b %Y %H:%M:%S} UTC"


# --- files --------------------------------------------------------------------------------------


def _directory(given: Path | None) -> Path:
    return given if given is not None else session().install.root / "certs"


def _load(directory: Path) -> CaBundle:
    """What is there, also when it has ended."""
    paths = [directory / name for name in (_CA, _ISSUER, _KEY)]
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
            "Name the directory sentry was started with: --issuer-credentials DIR",
        ) from error
    except BundleError as error:
        raise CliError(str(error)) from error


def _root(bundle: CaBundle) -> x509.Certificate:
    try:
        return bundle.nearest_root
    except BundleError as error:
        raise CliError(str(error)) from error


def _read_key(path: Path | None) -> PrivateKey | None:
    if path is None:
        return None
    try:
        return read_private_key(path.read_bytes())
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}") from error
    except CertificateError as error:
        raise CliError(f"{path}: {error}") from error


def _write(directory: Path, bundle: CaBundle) -> None:
    """The trust anchors first: with more of them than before nothing stops working."""
    files = {_CA: bundle.anchors_pem, _KEY: bundle.key_pem, _ISSUER: bundle.chain_pem}
    try:
        write_private({directory / name: content for name, content in files.items()})
    except OSError as error:
        raise CliError(f"{error.filename} cannot be written: {error.strerror}") from error
