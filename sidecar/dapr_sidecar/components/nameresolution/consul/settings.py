"""Settings of the ``consul`` resolver, nested as Consul's own Go client spells them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.nameresolution.consul.layout import (
    CHECK,
    CLIENT,
    QUERY,
    REGISTRATION,
)
from dapr_sidecar.components.nameresolution.consul.shape import MapOf, decode


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How the agent is verified, and what this client shows it."""

    server_name: str = ""
    ca_file: str = ""
    ca_path: str = ""
    cert_file: str = ""
    key_file: str = ""
    skip_verify: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Where the agent is and who asks it. What is empty comes from the environment."""

    address: str = ""
    scheme: str = ""
    datacenter: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    wait_time: timedelta = timedelta(0)
    token: str = field(default="", repr=False)
    token_file: str = ""
    tls: TlsSettings = TlsSettings()
    namespace: str = ""
    partition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryOptions:
    """How services are looked up."""

    namespace: str = ""
    partition: str = ""
    datacenter: str = ""
    allow_stale: bool = False
    require_consistent: bool = False
    use_cache: bool = False
    max_age: timedelta = timedelta(0)
    stale_if_error: timedelta = timedelta(0)
    wait_index: int = 0
    wait_hash: str = ""
    wait_time: timedelta = timedelta(0)
    token: str = field(default="", repr=False)
    near: str = ""
    node_meta: Mapping[str, str] = field(default_factory=dict)
    relay_factor: int = 0
    local_only: bool = False
    connect: bool = False
    filter: str = ""


def _client(text: str) -> ClientSettings:
    given = decode(text, CLIENT)
    auth, tls = given.pop("HTTPAuth", {}), given.pop("TLSConfig", {})
    return ClientSettings(
        username=auth.get("Username", ""),
        password=auth.get("Password", ""),
        tls=TlsSettings(
            server_name=tls.get("Address", ""),
            ca_file=tls.get("CAFile", ""),
            ca_path=tls.get("CAPath", ""),
            cert_file=tls.get("CertFile", ""),
            key_file=tls.get("KeyFile", ""),
            skip_verify=tls.get("InsecureSkipVerify", False),
        ),
        **{_snake(name): value for name, value in given.items()},
    )


def _query(text: str) -> QueryOptions:
    return QueryOptions(**{_snake(k): v for k, v in decode(text, QUERY).items()})


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _tags(text: str) -> tuple[str, ...]:
    if text.lstrip().startswith("["):
        return tuple(decode(text, [str]))
    return tuple(tag.strip() for tag in text.split(",") if tag.strip())


def _shaped(shape: Any) -> Callable[[str], Any]:
    return lambda text: decode(text, shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsulSettings:
    """Settings of the resolver; names ignore case at every depth."""

    client: ClientSettings = setting(
        "Client",
        default=ClientSettings(),
        parse=_client,
        secret=True,
        help="the agent: Address, Scheme, Datacenter, HTTPAuth, WaitTime, Token, TokenFile, "
        "TLSConfig; what is not given comes from CONSUL_HTTP_ADDR and its like",
    )
    query: QueryOptions = setting(
        "QueryOptions",
        default=QueryOptions(use_cache=True),
        parse=_query,
        secret=True,
        help="how services are looked up: Consul's query options; "
        "without any, answers may come from the agent's cache",
    )
    self_register: bool = setting(
        "SelfRegister", default=False, help="register this sidecar at the agent"
    )
    self_deregister: bool = setting(
        "SelfDeregister", default=False, help="take the registration back at shutdown"
    )
    checks: list[dict[str, Any]] = setting(
        "Checks",
        default=[],
        parse=_shaped([CHECK]),
        help="health checks of the registration; the sidecar's own health every 15 s",
    )
    tags: tuple[str, ...] = setting(
        "Tags", default=(), parse=_tags, help="tags of the registration"
    )
    meta: dict[str, str] = setting(
        "Meta", default={}, parse=_shaped(MapOf(str)), help="metadata of the registration"
    )
    advanced_registration: dict[str, Any] | None = setting(
        "AdvancedRegistration",
        default=None,
        parse=_shaped(REGISTRATION),
        help="a whole agent registration, instead of SelfRegister, Checks, Tags and Meta",
    )
    port_key: str = setting(
        "DaprPortMetaKey",
        default="DAPR_PORT",
        help="metadata entry with the sidecar's internal gRPC port",
    )
    use_cache: bool = setting(
        "UseCache",
        default=False,
        help="keep addresses in the sidecar, fresh by blocking queries, "
        "instead of asking the agent for each call",
    )
