"""What a manifest says of a Vault: where it is, whom to trust, who we are."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.pem import client_context

ADDRESS = "https://127.0.0.1:8200"
ENGINE = "secret"
PREFIX = "dapr"


class ValueType(Enum):
    """What the value of a secret is: its keys with their values, or one text."""

    MAP = "map"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSettings:
    """Names and defaults of Dapr's Vault store."""

    address: str = setting("vaultAddr", default=ADDRESS, help="URL of the server")
    ca_pem: str = setting(
        "caPem", default="", help="certificates that vouch for the server, PEM; before the others"
    )
    ca_path: str = setting(
        "caPath", default="", help="folder with such certificates; before `caCert`"
    )
    ca_cert: str = setting("caCert", default="", help="file with such certificates, PEM")
    skip_verify: bool = setting(
        "skipVerify", default=False, help="take any certificate of the server"
    )
    server_name: str = setting(
        "tlsServerName", default="", help="name that the server's certificate has; the URL's host"
    )
    token: str = setting("vaultToken", default="", secret=True, help="the token")
    token_file: str = setting(
        "vaultTokenMountPath",
        default="",
        help="file with the token, instead of `vaultToken`; read anew at every call",
    )
    prefix: str = setting("vaultKVPrefix", default=PREFIX, help="folder of the secrets")
    use_prefix: bool = setting(
        "vaultKVUsePrefix", default=True, help="whether there is such a folder"
    )
    engine: str = setting(
        "enginePath", default=ENGINE, help="path of the KV engine, of version 1 or 2"
    )
    value_type: ValueType = setting(
        "vaultValueType",
        default=ValueType.MAP,
        help="a secret's keys and values, or all of it as one text in JSON",
    )

    def folder(self) -> str:
        """The folder of the secrets in the engine, without slashes around it; may be empty."""
        return (self.prefix or PREFIX).strip("/") if self.use_prefix else ""

    def mount(self) -> str:
        """The engine's path without slashes around it. Raises ``SettingsError``."""
        found = (self.engine or ENGINE).strip("/")
        if not found:
            raise SettingsError(
                f"invalid metadata field 'enginePath': '{self.engine}': expected a path such as "
                f"{ENGINE}"
            )
        return found

    def tls(self) -> ssl.SSLContext:
        """Whom to trust. Raises ``SettingsError``."""
        name, text = "caPem", self.ca_pem
        if not text and self.ca_path:
            name, text = "caPath", _folder(self.ca_path)
        elif not text and self.ca_cert:
            name, text = "caCert", _file("caCert", Path(self.ca_cert))
        return client_context(
            ca=text, verify=not self.skip_verify, names=(name, "clientCert", "clientKey")
        )


def _folder(path: str) -> str:
    """Every file's certificates."""
    try:
        files = sorted(file for file in Path(path).iterdir() if file.is_file())
    except OSError as error:
        raise _unreadable("caPath", path, error) from error
    texts = [_file("caPath", file) for file in files]
    if not (found := [text for text in texts if "-----BEGIN" in text]):
        raise SettingsError(
            f"invalid metadata field 'caPath': '{path}': expected a folder with certificates in "
            "PEM form"
        )
    return "\n".join(found)


def _file(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise _unreadable(name, str(path), error) from error


def _unreadable(name: str, path: str, error: OSError) -> SettingsError:
    return SettingsError(f"invalid metadata field '{name}': '{path}': {error.strerror}")
