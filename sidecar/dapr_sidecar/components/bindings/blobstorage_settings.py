"""Settings of ``bindings.azure.blobstorage``: an account, how to log in, a container."""

from __future__ import annotations

import base64
import binascii
import re
import urllib.parse
from dataclasses import dataclass
from enum import Enum

from dapr_sidecar.components.azure.blobs import (
    BlobContainer,
    key_authorization,
    token_authorization,
)
from dapr_sidecar.components.azure.settings import AzureEnvironment, AzureSettings
from dapr_sidecar.components.azure.tokens import TokenSource
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.web import is_address

_RESOURCE = "https://storage.azure.com"
_SUFFIXES = {
    AzureEnvironment.PUBLIC: "core.windows.net",
    AzureEnvironment.CHINA: "core.chinacloudapi.cn",
    AzureEnvironment.GOVERNMENT: "core.usgovcloudapi.net",
}
_CONTAINER = re.compile(r"[a-z0-9](-?[a-z0-9]){2,62}|\$root|\$web")


class PublicAccess(Enum):
    """Who may read a container that the binding makes, without logging in."""

    NONE = "none"
    BLOB = "blob"
    CONTAINER = "container"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobStorageSettings(AzureSettings):
    """Microsoft Entra ID, or the account's key; and these."""

    account: str = setting(
        "accountName", aliases=("storageAccount",), default="", help="the storage account"
    )
    account_key: str = setting(
        "accountKey",
        aliases=("storageAccessKey",),
        default="",
        secret=True,
        help="its key; without one, Microsoft Entra ID",
    )
    connection_string: str = setting(
        "connectionString",
        default="",
        secret=True,
        help="name, key and endpoint in one, in their place",
    )
    container: str = setting("containerName", aliases=("container",), help="the container")
    endpoint: str = setting(
        "endpoint", default="", help="URL of the service, for emulators such as Azurite"
    )
    decode_base64: bool = setting(
        "decodeBase64", default=False, help="what is stored comes in base64"
    )
    get_tries: int = setting(
        "getBlobRetryCount", default=10, help="how often a read is tried when it breaks off"
    )
    public_access: PublicAccess = setting(
        "publicAccessLevel",
        default=PublicAccess.NONE,
        help="who may read a container that the binding makes",
    )
    no_management: bool = setting(
        "disableEntityManagement", default=False, help="the container is there; do not make it"
    )
    files_root: str = setting(
        "filesRoot", default="", help="folder that files of requests have to be in; none: refused"
    )


@dataclass(frozen=True, slots=True)
class Account:
    """``key`` is ``None`` with Microsoft Entra ID; ``path`` goes before the container."""

    name: str
    key: bytes | None
    origin: str
    path: str


def account_of(settings: BlobStorageSettings) -> Account:
    """Who we are towards the service, and where it is. Raises ``SettingsError``."""
    if not _CONTAINER.fullmatch(settings.container):
        raise SettingsError(
            f"invalid metadata field 'containerName': '{settings.container}': expected 3 to 63 "
            "lower-case letters, digits and single hyphens"
        )
    if settings.get_tries < 1:
        raise SettingsError(
            f"invalid metadata field 'getBlobRetryCount': '{settings.get_tries}': "
            "expected a number from 1"
        )
    words = _connection_words(settings.connection_string)
    name = settings.account or words.get("accountname", "")
    if not name:
        raise SettingsError("missing required metadata field 'accountName'")
    field = "accountKey" if settings.account_key else "connectionString"
    key = _key(settings.account_key or words.get("accountkey", ""), field)
    endpoint = settings.endpoint or words.get("blobendpoint", "")
    if not endpoint:
        suffix = words.get("endpointsuffix") or _SUFFIXES[settings.environment]
        scheme = words.get("defaultendpointsprotocol") or "https"
        endpoint = f"{scheme}://{name}.blob.{suffix}"
    origin, path = _place(endpoint, name)
    return Account(name, key, origin, path)


def container_of(settings: BlobStorageSettings, account: Account) -> BlobContainer:
    """Raises ``SettingsError`` when the way to log in is only half described."""
    if account.key is not None:
        authorize = key_authorization(account.name, account.key)
    else:
        authorize = token_authorization(TokenSource(settings, _RESOURCE).get)
    try:
        return BlobContainer(account.origin, account.path, settings.container, authorize)
    except ValueError as error:
        raise SettingsError(
            f"invalid metadata field 'endpoint': '{settings.endpoint}': {error}"
        ) from None


def _place(endpoint: str, account: str) -> tuple[str, str]:
    """Origin and path. Emulators have the account in the path, the service in the host."""
    parts = urllib.parse.urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise SettingsError(
            "invalid metadata field 'endpoint': expected a URL such as http://127.0.0.1:10000"
        )
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    in_host = parts.hostname.partition(".")[0] == account and not is_address(parts.hostname)
    if in_host or path.rpartition("/")[2] == account:
        return origin, path
    return origin, f"{path}/{account}"


def _key(text: str, field: str) -> bytes | None:
    if not text:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise SettingsError(
            f"invalid metadata field '{field}': expected the account's key, which is base64"
        ) from None


def _connection_words(text: str) -> dict[str, str]:
    """``AccountName=a;AccountKey=k`` by lower-case name; nothing of it goes into an error."""
    found: dict[str, str] = {}
    for one in filter(None, (part.strip() for part in text.split(";"))):
        name, joint, value = one.partition("=")
        if not joint:
            raise SettingsError(
                "invalid metadata field 'connectionString': expected name=value;name=value"
            )
        found[name.strip().lower()] = value.strip()
    if "sharedaccesssignature" in found:
        raise SettingsError(
            "invalid metadata field 'connectionString': expected one with AccountKey; "
            "shared access signatures are not taken"
        )
    return found
