"""Fields of Consul's structures that the configuration may hold, with their types."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dapr_sidecar.components.nameresolution.consul.shape import ANY, MapOf

_TLS = {
    "Address": str,
    "CAFile": str,
    "CAPath": str,
    "CertFile": str,
    "KeyFile": str,
    "InsecureSkipVerify": bool,
}
CLIENT = {
    "Address": str,
    "Scheme": str,
    "Datacenter": str,
    "HTTPAuth": {"Username": str, "Password": str},
    "WaitTime": timedelta,
    "Token": str,
    "TokenFile": str,
    "TLSConfig": _TLS,
}
QUERY = {
    "Namespace": str,
    "Partition": str,
    "Datacenter": str,
    "WaitHash": str,
    "Token": str,
    "Near": str,
    "Filter": str,
    "MaxAge": timedelta,
    "StaleIfError": timedelta,
    "WaitIndex": int,
    "WaitTime": timedelta,
    "NodeMeta": MapOf(str),
    "AllowStale": bool,
    "RequireConsistent": bool,
    "UseCache": bool,
    "RelayFactor": int,
    "LocalOnly": bool,
    "Connect": bool,
}
CHECK = {
    "Args": [str],
    "CheckID": str,
    "Name": str,
    "DockerContainerID": str,
    "Shell": str,
    "Interval": str,
    "Timeout": str,
    "TTL": str,
    "HTTP": str,
    "Method": str,
    "TCP": str,
    "Status": str,
    "Notes": str,
    "GRPC": str,
    "AliasNode": str,
    "AliasService": str,
    "DeregisterCriticalServiceAfter": str,
    "Header": MapOf([str]),
    "TLSSkipVerify": bool,
    "GRPCUseTLS": bool,
}
_GATEWAY = {"Mode": str}
_EXPOSE = {
    "Checks": bool,
    "Paths": [
        {
            "ListenerPort": int,
            "Path": str,
            "LocalPathPort": int,
            "Protocol": str,
            "ParsedFromCheck": bool,
        }
    ],
}
_PROXY = {
    "DestinationServiceName": str,
    "DestinationServiceID": str,
    "LocalServiceAddress": str,
    "LocalServicePort": int,
    "Config": ANY,
    "Upstreams": [
        {
            "DestinationType": str,
            "DestinationNamespace": str,
            "DestinationName": str,
            "Datacenter": str,
            "LocalBindAddress": str,
            "LocalBindPort": int,
            "Config": ANY,
            "MeshGateway": _GATEWAY,
        }
    ],
    "MeshGateway": _GATEWAY,
    "Expose": _EXPOSE,
}
REGISTRATION: dict[str, Any] = {
    "Kind": str,
    "ID": str,
    "Name": str,
    "Tags": [str],
    "Port": int,
    "Address": str,
    "TaggedAddresses": MapOf({"Address": str, "Port": int}),
    "EnableTagOverride": bool,
    "Meta": MapOf(str),
    "Weights": {"Passing": int, "Warning": int},
    "Check": CHECK,
    "Checks": [CHECK],
    "Proxy": _PROXY,
}
# A sidecar service is a registration of its own, as deep as somebody writes it.
REGISTRATION["Connect"] = {"Native": bool, "SidecarService": REGISTRATION}
