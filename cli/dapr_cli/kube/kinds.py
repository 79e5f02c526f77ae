"""The kinds of objects the commands read and write, beyond those every program knows."""

from __future__ import annotations

from dapr_common.kube.kinds import Kind

NAMESPACES = Kind("", "v1", "namespaces", namespaced=False)
DEFINITIONS = Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)
DEPLOYMENTS = Kind("apps", "v1", "deployments")
STATEFUL_SETS = Kind("apps", "v1", "statefulsets")
