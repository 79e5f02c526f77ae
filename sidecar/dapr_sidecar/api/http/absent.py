"""HTTP routes of APIs that this product does not have."""

from __future__ import annotations

from dapr_common.http.messages import Request, Response
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.absent import AbsentApis

_WORKFLOW_VERSIONS = ("", "-alpha1", "-beta1")
_WORKFLOW_VERBS = ("pause", "resume", "terminate", "purge")
_CONVERSATION_VERSIONS = ("alpha1", "alpha2")


def routes(apis: AbsentApis) -> list[Route]:
    """Each only says that it is not there."""

    async def workflow(request: Request, *_: str) -> Response:
        raise apis.workflow()

    async def converse(request: Request, component: str) -> Response:
        raise apis.conversation(component)

    found = []
    for version in _WORKFLOW_VERSIONS:
        root = f"/v1.0{version}/workflows/{{component}}"
        group = f"v1{version.removeprefix('-')}/workflows"
        for method, path, name in (
            ("GET", "{instance}", "GetWorkflow"),
            ("POST", "{name}/start", "StartWorkflow"),
            ("POST", "{instance}/raiseEvent/{event}", "RaiseEventWorkflow"),
            *(
                ("POST", f"{{instance}}/{verb}", f"{verb.capitalize()}Workflow")
                for verb in _WORKFLOW_VERBS
            ),
        ):
            found.append(Route((method,), f"{root}/{path}", group, name, workflow))
    for version in _CONVERSATION_VERSIONS:
        path = f"/v1.0-{version}/conversation/{{name}}/converse"
        found.append(Route(("POST",), path, f"v1{version}/conversation", "Converse", converse))
    return found
