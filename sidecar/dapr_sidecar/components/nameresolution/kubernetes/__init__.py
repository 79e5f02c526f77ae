"""The ``kubernetes`` name resolver: sidecars are found by the DNS names of their services."""

from dapr_sidecar.components.nameresolution.kubernetes.resolver import KubernetesResolver

__all__ = ["KubernetesResolver"]
