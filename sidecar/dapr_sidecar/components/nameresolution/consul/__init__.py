"""The ``consul`` name resolver: sidecars are services in Consul's catalogue."""

from dapr_sidecar.components.nameresolution.consul.resolver import ConsulResolver

__all__ = ["ConsulResolver"]
