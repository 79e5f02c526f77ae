"""The way into a cluster: a pod's service account, or a kubeconfig file."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dapr_common.aio.host import join_host_port
from dapr_common.kube.api_errors import LoginError
from dapr_common.kube.yaml_text import load_yaml

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_REFUSED = {
    "exec": "programs that make credentials are not run",
    "auth-provider": "authentication providers are not supported",
    "username": "user names with passwords are not supported",
    "as": "impersonation is not supported",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Where the API server is and how to speak to it. ``token`` gives the newest, or nothing."""

    server: str
    tls: ssl.SSLContext | None
    namespace: str = "default"
    server_name: str | None = None
    """The name in the server's certificate when it is not that of the address."""
    token: Callable[[], str] = field(default=lambda: "", repr=False)


class TokenFile:
    """A token that somebody else renews: read again whenever the file is another one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] = (0, 0)
        self._token = ""

    def __call__(self) -> str:
        """The token as it is now. Raises ``LoginError``."""
        try:
            found = self._path.stat()
            if (stamp := (found.st_mtime_ns, found.st_ino)) != self._stamp:
                self._token = self._path.read_text(encoding="ascii").strip()
                self._stamp = stamp
        except (OSError, UnicodeError) as error:
            raise LoginError(f"service account token {self._path}: {error}") from error
        if not self._token:
            raise LoginError(f"service account token {self._path} is empty")
        return self._token


def find_login(kubeconfig: str = "", environment: Mapping[str, str] | None = None) -> Login:
    """A pod's own account when this runs in one, otherwise the kubeconfig file.

    Without a path that is the one in ``KUBE_CONFIG``, else ``$HOME/.kube/config``. Raises
    ``LoginError``.
    """
    environment = os.environ if environment is None else environment
    if environment.get("KUBERNETES_SERVICE_HOST"):
        return service_account_login(environment)
    named = kubeconfig or environment.get("KUBE_CONFIG", "")
    return kubeconfig_login(Path(named) if named else Path.home() / ".kube" / "config")


def service_account_login(environment: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> Login:
    """The account that Kubernetes mounts into every pod. Raises ``LoginError``."""
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT", "") or "443"
    if not host or not port.isdigit():
        raise LoginError(
            "not in a Kubernetes pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not "
            "an address"
        )
    token = TokenFile(folder / "token")
    token()  # what is missing is said at start
    try:
        tls = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        namespace = (folder / "namespace").read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise LoginError(f"service account in {folder}: {error}") from error
    return Login(
        server=f"https://{join_host_port(host, int(port))}",
        tls=tls,
        namespace=namespace or "default",
        token=token,
    )


def kubeconfig_login(path: Path, context: str = "") -> Login:
    """What a kubeconfig file says of a context, its current one if none is named.

    Raises ``LoginError``, which names the file and the entry.
    """
    try:
        document = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise LoginError(f"kubeconfig {path} cannot be read: {error}") from error
    if not isinstance(document, Mapping):
        raise LoginError(f"kubeconfig {path} is not a mapping")
    return _Kubeconfig(path, document).login(context)


class _Kubeconfig:
    def __init__(self, path: Path, document: Mapping[str, Any]) -> None:
        self._path = path
        self._document = document

    def login(self, context: str) -> Login:
        context = context or str(self._document.get("current-context") or "")
        if not context:
            raise self._error("it has no current-context")
        chosen = self._entry("context", context)
        cluster = self._entry("cluster", str(chosen.get("cluster") or ""))
        user = self._entry("user", str(chosen.get("user") or "")) if chosen.get("user") else {}
        for key, why in _REFUSED.items():
            if user.get(key):
                raise self._error(f"user '{chosen.get('user')}' has '{key}': {why}")
        if cluster.get("proxy-url"):
            raise self._error(f"cluster '{chosen['cluster']}' has 'proxy-url': not supported")
        server = str(cluster.get("server") or "").rstrip("/")
        if not server.startswith(("https://", "http://")):
            raise self._error(f"cluster '{chosen.get('cluster')}' has no server URL")
        return Login(
            server=server,
            tls=self._tls(cluster, user) if server.startswith("https://") else None,
            namespace=str(chosen.get("namespace") or "default"),
            server_name=cluster.get("tls-server-name"),
            token=self._token(user),
        )

    def _entry(self, kind: str, name: str) -> Mapping[str, Any]:
        for entry in self._document.get(f"{kind}s") or ():
            if isinstance(entry, Mapping) and entry.get("name") == name:
                found = entry.get(kind)
                return found if isinstance(found, Mapping) else {}
        raise self._error(f"there is no {kind} '{name}'")

    def _tls(self, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
        authority = self._content(cluster, "certificate-authority")
        try:
            context = ssl.create_default_context(
                cadata=authority.decode("ascii") if authority else None
            )
            if cluster.get("insecure-skip-tls-verify"):
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._client_certificate(context, user)
        except (OSError, ValueError) as error:
            raise self._error(f"certificates cannot be used: {error}") from error
        return context

    def _client_certificate(self, context: ssl.SSLContext, user: Mapping[str, Any]) -> None:
        certificate = self._content(user, "client-certificate")
        key = self._content(user, "client-key")
        if not certificate and not key:
            return
        if not certificate or not key:
            raise self._error("client-certificate and client-key go together; one is missing")
        with tempfile.NamedTemporaryFile() as file:  # ssl reads from paths only; mode 0600
            file.write(certificate + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name, password="")

    def _token(self, user: Mapping[str, Any]) -> Callable[[], str]:
        if path := user.get("tokenFile"):
            return TokenFile(self._path.parent / str(path))
        token = str(user.get("token") or "")
        return lambda: token

    def _content(self, entry: Mapping[str, Any], key: str) -> bytes:
        """``<key>-data`` decoded, else the file that ``<key>`` names, else nothing."""
        try:
            if data := entry.get(f"{key}-data"):
                return base64.b64decode(str(data), validate=True)
            if name := entry.get(key):
                return (self._path.parent / str(name)).read_bytes()
        except (OSError, binascii.Error) as error:
            raise self._error(f"{key}: {error}") from error
        return b""

    def _error(self, text: str) -> LoginError:
        return LoginError(f"kubeconfig {self._path}: {text}")
