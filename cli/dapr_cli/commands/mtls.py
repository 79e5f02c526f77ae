"""``dapr mtls``: the certificate authority that sentry keeps, in files or in a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from cryptography import x509

from dapr_cli import render
from dapr_cli.authority_files import CA, latest_root, load, read_key, write
from dapr_cli.cluster_setup import certificate_options, image_variant_option, read_authority
from dapr_cli.errors import CliError
from dapr_cli.own_authority import is_trusted_by, joined
from dapr_cli.session import Verb, global_options, kubernetes_option, output_option, session
from dapr_common.moments import rfc3339
from dapr_common.security.authority import (
    DEFAULT_CLOCK_SKEW,
    BundleError,
    CaBundle,
    Life,
)
from dapr_common.security.rotation import has_root_of, renewed_issuer, rotated
from dapr_common.security.x509 import PrivateKey

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
    invoke_without_command=True,
)
@kubernetes_option
@click.pass_context
def mtls_command(ctx: click.Context, kubernetes: bool) -> None:
    """Inspect, export or renew sentry's certificate authority.

    With -k and without a verb: whether mutual TLS is enabled in the cluster.
    """
    if ctx.invoked_subcommand is not None:
        return
    if not kubernetes:
        click.echo(ctx.get_help())
        return
    from dapr_cli.kube import mtls

    state = "enabled" if mtls.is_enabled() else "disabled"
    click.echo(f"Mutual TLS is {state} in your Kubernetes cluster ")


def _place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Which authority is meant: the one in files, or the one in the cluster."""
    function = click.option(
        "--issuer-credentials",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="The directory sentry was given under this name.  [default: .dapr/certs]",
    )(function)
    function = click.option(
        "-n", "--namespace", default="", help="With -k: where the control plane lives."
    )(function)
    return kubernetes_option(function)


@mtls_command.command("expiry", cls=Verb)
@_place_options
@output_option
def expiry_command(
    kubernetes: bool, namespace: str, issuer_credentials: Path | None, output: str
) -> int:
    """See when the root and the issuer certificate end; exit code 1 when one has ended.

    Without -k and without certificates on this machine, those of your cluster are meant.
    """
    bundle = _present(kubernetes, namespace, issuer_credentials)
    certificates = {"Root": latest_root(bundle), "Issuer": bundle.issuer}
    if output == "table":
        return max(_expiry(which, one) for which, one in certificates.items())
    records = [_record(which, one, datetime.now(UTC)) for which, one in certificates.items()]
    render.show(records, output)
    return 1 if any(record["expired"] for record in records) else 0


@mtls_command.command("export", cls=Verb)
@_place_options
@click.option(
    "-o",
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Where ca.crt, issuer.crt and issuer.key are written.  [default: here]",
)
def export_command(
    kubernetes: bool, namespace: str, issuer_credentials: Path | None, out: Path
) -> None:
    """Write the trust anchors, the issuer certificate and its key to another directory.

    Without -k and without certificates on this machine, those of your cluster are meant.
    """
    in_cluster = _is_in_cluster(kubernetes, issuer_credentials)
    if not in_cluster and out.resolve() == _directory(issuer_credentials).resolve():
        raise CliError(f"{out} is where they are already", "Choose another directory: --out DIR")
    write(out, _present(kubernetes, namespace, issuer_credentials))
    session().console.success(f"Trust certs successfully exported to {out.absolute()}")


@mtls_command.command("renew-certificate", cls=Verb)
@_place_options
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
@certificate_options
@image_variant_option
@click.option("--restart", is_flag=True, help="With -k: restart the control plane afterwards.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="With -k: how long a restart may take.",
)
def renew_certificate_command(
    kubernetes: bool,
    namespace: str,
    issuer_credentials: Path | None,
    valid_until: int,
    private_key: Path | None,
    issuer_only: bool,
    restart: bool,
    timeout: int,
    **certificates: Path | None,
) -> None:
    """Renew the root and the issuer certificate while everybody goes on trusting everybody.

    The old root stays in ca.crt. A running sentry takes the new files over by itself, and
    whoever knows only the old root trusts new certificates until the old issuer ends. With -k
    they are written into the cluster.
    """
    own = read_authority(certificates)
    if own is not None and (private_key is not None or issuer_only):
        raise click.UsageError("an authority of your own needs no --private-key or --issuer-only")
    wish = Wish(timedelta(days=valid_until), read_key(private_key), issuer_only, own)
    if _is_meant(kubernetes):
        _refuse_directory(issuer_credentials)
        from dapr_cli.kube import mtls

        before, after = mtls.renew(
            namespace, wish.carried_out, restart_seconds=timeout if restart else None
        )
        place = "your Kubernetes cluster"
    else:
        directory = _directory(issuer_credentials)
        before = load(directory)
        after = wish.carried_out(before, DEFAULT_CLOCK_SKEW)
        write(directory, after)
        place = str(directory)
    _report(place, before, after)


@dataclass(frozen=True, slots=True)
class Wish:
    """What kind of a new authority is wanted."""

    validity: timedelta
    key: PrivateKey | None = None
    issuer_only: bool = False
    own: CaBundle | None = None

    def carried_out(self, before: CaBundle, clock_skew: timedelta) -> CaBundle:
        """The new authority. Raises ``CliError``."""
        now = datetime.now(UTC)
        if self.own is not None:
            return joined(before, self.own, now)
        life = Life.of(now, self.validity, clock_skew)
        keeps_root = self.issuer_only or (self.key is not None and has_root_of(before, self.key))
        try:
            if keeps_root:
                return renewed_issuer(before, life, self.key)
            return rotated(before, now, life, self.key)
        except BundleError as error:
            raise CliError(str(error)) from error


def _report(place: str, before: CaBundle, after: CaBundle) -> None:
    console = session().console
    ends = _date(after.issuer.not_valid_after_utc)
    if after.anchors == before.anchors:
        console.success(f"A new issuer certificate is in {place}, valid until {ends}")
        return
    console.success(f"A new root and issuer certificate are in {place}, valid until {ends}")
    if not is_trusted_by(before, after, datetime.now(UTC)):
        console.warning(
            "The old issuer had ended or may not vouch for the new root: programs that know only "
            f"the old root trust nothing new. Give them the new {CA}; in a cluster, restart pods"
        )
        return
    console.info(
        f"Give the new {CA} to programs that were started with the old one by "
        f"{_date(_last_day(before, after))}; in a cluster, pods that start have it"
    )


def _last_day(before: CaBundle, after: CaBundle) -> datetime:
    """Until when those who know only the old anchors trust new certificates."""
    crossed = [one for one in after.chain if one not in (after.issuer, *before.chain)]
    return min(one.not_valid_after_utc for one in (*crossed, before.issuer))


def _record(which: str, certificate: x509.Certificate, now: datetime) -> dict[str, Any]:
    ends = certificate.not_valid_after_utc
    return {
        "certificate": which.lower(),
        "expires": rfc3339(ends),
        "hoursLeft": max(ends - now, timedelta(0)) // timedelta(hours=1),
        "expired": ends <= now,
    }


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


# --- which authority ----------------------------------------------------------------------------


def _present(kubernetes: bool, namespace: str, issuer_credentials: Path | None) -> CaBundle:
    if not _is_in_cluster(kubernetes, issuer_credentials):
        return load(_directory(issuer_credentials))
    from dapr_cli.kube import mtls

    return mtls.load(namespace)


def _is_in_cluster(kubernetes: bool, issuer_credentials: Path | None) -> bool:
    """With ``-k``; and without it, as with the official CLI, when there is nothing here."""
    if _is_meant(kubernetes):
        _refuse_directory(issuer_credentials)
        return True
    if issuer_credentials is not None or _directory(None).exists():
        return False
    from dapr_cli.kube.kubeconfig import is_there

    return is_there()


def _is_meant(kubernetes: bool) -> bool:
    """``-k`` after the verb or before it."""
    parent = click.get_current_context().parent
    return kubernetes or bool(parent and parent.params.get("kubernetes"))


def _refuse_directory(issuer_credentials: Path | None) -> None:
    if issuer_credentials is not None:
        raise click.UsageError("--issuer-credentials is of this machine: leave it out with -k")


def _directory(given: Path | None) -> Path:
    return given if given is not None else session().install.root / "certs"
