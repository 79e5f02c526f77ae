"""The kinds of objects the commands read and write, beyond those every program knows."""

from __future__ import annotations

from dapr_common.kube.kinds import Kind

NODES = Kind("", "v1", "nodes", namespaced=False)
NAMESPACES = Kind("", "v1", "namespaces", namespaced=False)
DEFINITIONS = Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)
DEPLOYMENTS = Kind("apps", "v1", "deployments")
STATEFUL_SETS = Kind("apps", "v1", "statefulsets")
SERVICES = Kind("", "v1", "services")
MUTATING_WEBHOOKS = Kind(
    "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", namespaced=False
)
VALIDATING_WEBHOOKS = Kind(
    "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", namespaced=False
)
# Dapr's own, by the word of their manifests.
RESOURCES = {
    "Component": Kind("dapr.io", "v1alpha1", "components"),
    "Configuration": Kind("dapr.io", "v1alpha1", "configurations"),
    "HTTPEndpoint": Kind("dapr.io", "v1alpha1", "httpendpoints"),
    "Resiliency": Kind("dapr.io", "v1alpha1", "resiliencies"),
    "Subscription": Kind("dapr.io", "v2alpha1", "subscriptions"),
}
