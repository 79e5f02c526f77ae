"""Every kind of custom resource that Dapr has."""

from __future__ import annotations

from dapr_common.kube.schema.component import COMPONENT
from dapr_common.kube.schema.configuration import CONFIGURATION
from dapr_common.kube.schema.http_endpoint import HTTP_ENDPOINT
from dapr_common.kube.schema.mcp_server import MCP_SERVER
from dapr_common.kube.schema.resiliency import RESILIENCY
from dapr_common.kube.schema.subscription import SUBSCRIPTION
from dapr_common.kube.schema.workflow_access_policy import WORKFLOW_ACCESS_POLICY

CUSTOM_RESOURCES = (
    COMPONENT,
    CONFIGURATION,
    HTTP_ENDPOINT,
    MCP_SERVER,
    RESILIENCY,
    SUBSCRIPTION,
    WORKFLOW_ACCESS_POLICY,
)
