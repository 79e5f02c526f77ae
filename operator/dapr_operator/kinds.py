"""The kinds the operator works with."""

from __future__ import annotations

from dataclasses import dataclass

from dapr_common.kube.kinds import CONFIGURATIONS, Kind

_GROUP = "dapr.io"


@dataclass(frozen=True, slots=True)
class DaprKind:
    """A kind of Dapr's; ``word`` is its name in manifests."""

    word: str
    kind: Kind
    optional: bool = False
    """A cluster may go without it."""

    @property
    def crd(self) -> str:
        """The name of its definition."""
        return f"{self.kind.plural}.{self.kind.group}"

    @property
    def api_version(self) -> str:
        """As manifests have it."""
        return f"{self.kind.group}/{self.kind.version}"


COMPONENT = DaprKind("Component", Kind(_GROUP, "v1alpha1", "components"))
CONFIGURATION = DaprKind("Configuration", CONFIGURATIONS)
HTTP_ENDPOINT = DaprKind("HTTPEndpoint", Kind(_GROUP, "v1alpha1", "httpendpoints"))
MCP_SERVER = DaprKind("MCPServer", Kind(_GROUP, "v1alpha1", "mcpservers"), optional=True)
RESILIENCY = DaprKind("Resiliency", Kind(_GROUP, "v1alpha1", "resiliencies"))
SUBSCRIPTION = DaprKind("Subscription", Kind(_GROUP, "v2alpha1", "subscriptions"))
WORKFLOW_ACCESS_POLICY = DaprKind(
    "WorkflowAccessPolicy", Kind(_GROUP, "v1alpha1", "workflowaccesspolicies"), optional=True
)
DAPR_KINDS = (
    COMPONENT,
    CONFIGURATION,
    HTTP_ENDPOINT,
    MCP_SERVER,
    RESILIENCY,
    SUBSCRIPTION,
    WORKFLOW_ACCESS_POLICY,
)

DEPLOYMENTS = Kind("apps", "v1", "deployments")
STATEFUL_SETS = Kind("apps", "v1", "statefulsets")
ROLLOUTS = Kind("argoproj.io", "v1alpha1", "rollouts")
SERVICES = Kind("", "v1", "services")
