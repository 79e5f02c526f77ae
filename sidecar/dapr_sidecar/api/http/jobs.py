"""HTTP routes of the Jobs API."""

from __future__ import annotations

from typing import Any

from dapr_common.http.messages import Request, Response
from dapr_common.json_text import whole_numbers
from dapr_common.wire.dapr.proto.internals.v1 import jobs_pb2 as internals
from dapr_common.wire.dapr.proto.runtime.v1 import jobs_pb2
from dapr_sidecar.api.http.protojson import read_message
from dapr_sidecar.api.http.responses import empty, json_response
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.scheduler.jobs import Jobs


def routes(jobs: Jobs) -> list[Route]:
    """The routes of the Jobs API."""

    async def schedule(request: Request, name: str) -> Response:
        body = await read_message(request, internals.JobHTTPRequest)
        jobs.check_no_name(body.name)
        job = jobs_pb2.Job(name=name)
        for member in ("schedule", "repeats", "due_time", "ttl"):
            if body.HasField(member):
                setattr(job, member, getattr(body, member))
        if body.HasField("data"):
            job.data.Pack(body.data)
        if body.HasField("failure_policy"):
            job.failure_policy.CopyFrom(body.failure_policy)
        await jobs.schedule(job, overwrite=body.overwrite)
        return empty()

    async def get(request: Request, name: str) -> Response:
        return json_response(whole_numbers(_shown(await jobs.get(name))), newline=False)

    async def delete(request: Request, name: str) -> Response:
        await jobs.delete(name)
        return empty()

    table = []
    for version, group in (("v1.0", "v1/jobs"), ("v1.0-alpha1", "v1alpha1/jobs")):
        path = f"/{version}/jobs/{{name}}"
        table += [
            Route(("POST",), path, group, "ScheduleJob", schedule),
            Route(("GET",), path, group, "GetJob", get),
            Route(("DELETE",), path, group, "DeleteJob", delete),
        ]
    return table


def _shown(job: jobs_pb2.Job) -> dict[str, Any]:
    from google.protobuf import json_format, wrappers_pb2

    try:
        shown: dict[str, Any] = json_format.MessageToDict(job)
    except TypeError:
        # Data of a type this program has no description of: its bytes, in base64.
        bare = jobs_pb2.Job()
        bare.CopyFrom(job)
        bare.ClearField("data")
        shown = json_format.MessageToDict(bare)
        raw = json_format.MessageToDict(wrappers_pb2.BytesValue(value=job.data.value))
        shown["data"] = {"@type": job.data.type_url, "value": raw}
    return shown
