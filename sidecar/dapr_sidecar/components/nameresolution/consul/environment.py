"""What Consul's environment variables add to the client's settings. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import SplitResult, urlsplit

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.nameresolution.consul.settings import ClientSettings, TlsSettings

_LOG = get_logger("dapr.contrib")
_DEFAULT_ADDRESS = "127.0.0.1:8500"
_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})


def completed(given: ClientSettings, environment: Mapping[str, str]) -> ClientSettings:
    """Fill in what is not given. A token of the settings beats one of the environment."""
    read = environment.get
    name, _, password = read("CONSUL_HTTP_AUTH", "").partition(":")
    token, token_file = given.token, given.token_file
    if not token and not token_file:
        token, token_file = read("CONSUL_HTTP_TOKEN", ""), read("CONSUL_HTTP_TOKEN_FILE", "")
    return replace(
        given,
        address=given.address or read("CONSUL_HTTP_ADDR", "") or _DEFAULT_ADDRESS,
        scheme=given.scheme or ("https" if _is_on(environment, "CONSUL_HTTP_SSL") else "http"),
        username=given.username or name,
        password=given.password if given.username else password,
        token=token,
        token_file=token_file,
        tls=_tls(given.tls, environment),
        namespace=read("CONSUL_NAMESPACE", ""),
        partition=read("CONSUL_PARTITION", ""),
    )


def _tls(given: TlsSettings, environment: Mapping[str, str]) -> TlsSettings:
    read = environment.get
    return TlsSettings(
        server_name=given.server_name or read("CONSUL_TLS_SERVER_NAME", ""),
        ca_file=given.ca_file or read("CONSUL_CACERT", ""),
        ca_path=given.ca_path or read("CONSUL_CAPATH", ""),
        cert_file=given.cert_file or read("CONSUL_CLIENT_CERT", ""),
        key_file=given.key_file or read("CONSUL_CLIENT_KEY", ""),
        skip_verify=given.skip_verify
        or not _is_on(environment, "CONSUL_HTTP_SSL_VERIFY", default=True),
    )


def _is_on(environment: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    word = environment.get(name, "").lower()
    if word in _TRUE:
        return True
    if word and word not in _FALSE:
        _LOG.warning("nameresolution.consul: %s is neither true nor false and ignored", name)
        return default
    return default if not word else False


def endpoint(client: ClientSettings) -> SplitResult:
    """Where the agent listens: ``http``, ``https`` or ``unix``. Raises ``ValueError``."""
    scheme, separator, rest = client.address.partition("://")
    if not separator:
        scheme, rest = client.scheme, client.address
    elif scheme == "http":
        scheme = client.scheme  # never back to plain text when TLS is asked for
    if scheme not in ("http", "https", "unix"):
        raise ValueError(f"invalid 'Client.Address': unknown protocol scheme: {scheme}")
    if scheme == "unix":
        return SplitResult("unix", "", rest, "", "")
    return urlsplit(f"{scheme}://{rest.rstrip('/')}")
