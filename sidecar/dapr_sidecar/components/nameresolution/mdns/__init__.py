"""The ``mdns`` name resolver: finds sidecars of the local network by multicast DNS."""

from dapr_sidecar.components.nameresolution.mdns.resolver import MdnsResolver

__all__ = ["MdnsResolver"]
