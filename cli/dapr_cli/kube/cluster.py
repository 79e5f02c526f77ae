"""Run a command's work on the user's cluster, and say what stands in the way as people need it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from dapr_cli.console import Console
from dapr_cli.errors import CliError
from dapr_cli.kube.kubeconfig import find_login
from dapr_cli.kube.trust_bundle import TrustBundle, find_bundles
from dapr_cli.session import session
from dapr_common.kube.api_errors import (
    ForbiddenError,
    KubeError,
    LoginError,
    NotFoundError,
    UnauthorizedError,
    UnreachableError,
)
from dapr_common.kube.client import KubeClient
from dapr_common.kube.login import Login
from dapr_common.security.authority import BundleError

SYSTEM_NAMESPACE = "dapr-system"
CONTROL_PLANE_CONFIGURATION = "daprsystem"
_WARNING_DAYS = 30
_HINTS: tuple[tuple[type[KubeError], str], ...] = (
    (LoginError, "Name your kubeconfig file with the variable KUBECONFIG."),
    (UnreachableError, "Is the cluster running? 'kubectl cluster-info' asks the same server."),
    (UnauthorizedError, "The cluster does not know your credentials: log in to it again."),
    (ForbiddenError, "Your account in the cluster may not do this: ask its administrator."),
)

T = TypeVar("T")


class UserClient(KubeClient):
    """Speaks for the user; ``login`` is for what is no object, such as logs."""

    def __init__(self, login: Login) -> None:
        super().__init__(login)
        self.login = login


def on_cluster(work: Callable[[UserClient], Awaitable[T]], *, warns: bool = True) -> T:
    """Do the work with a client of the user's cluster. Raises ``CliError``.

    With ``warns``, a root certificate that ends soon is said afterwards.
    """
    console = session().console

    async def run() -> T:
        async with UserClient(find_login()) as client:
            result = await work(client)
            if warns:
                await _warn_of_expiry(client, console)
            return result

    try:
        return asyncio.run(run())
    except KubeError as error:
        text = " ".join(str(error).split())  # a parser's words come in several lines
        raise CliError(f"Kubernetes: {text}", _hint(error)) from error


def _hint(error: KubeError) -> str:
    if isinstance(error, NotFoundError) and "/dapr.io/" in str(error):
        return "Dapr's kinds are not known to this cluster: 'dapr init -k' installs them."
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "The server does not prove who it is to your kubeconfig: is that of another cluster?"
    return next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")


async def _warn_of_expiry(client: KubeClient, console: Console) -> None:
    """Silent when it cannot be read: most accounts may not."""
    try:
        bundles = await find_bundles(client)
    except KubeError:
        return
    for bundle in bundles:
        if ends := _root_end(bundle):
            _warn(ends - datetime.now(UTC), ends, console)


def _root_end(bundle: TrustBundle) -> datetime | None:
    """When the root of the authority in use ends; ``None`` when there is none that can be read."""
    try:
        return bundle.authority().nearest_root.not_valid_after_utc
    except BundleError:
        return None


def _warn(left: timedelta, ends: datetime, console: Console) -> None:
    if left >= timedelta(days=_WARNING_DAYS):
        return
    when = "has expired" if left <= timedelta(0) else f"expires in {left.days} days"
    console.warning(
        f"The root certificate of Dapr in your Kubernetes cluster {when}, on "
        f"{ends:%a, %d %b %Y %H:%M:%S} UTC: renew it with 'dapr mtls renew-certificate -k'"
    )
