"""gRPC methods of the Jobs API."""

from __future__ import annotations

from typing import Any

from dapr_common.grpc.server import Context, Method
from dapr_common.wire.dapr.proto.runtime.v1 import jobs_pb2 as pb
from dapr_sidecar.blocks.scheduler.jobs import Jobs

_SERVICE = "/dapr.proto.runtime.v1.Dapr/"


def methods(jobs: Jobs) -> list[Method]:
    """The methods of the Jobs API; each has the name it had as an alpha, too."""

    async def schedule(request: pb.ScheduleJobRequest, context: Context) -> pb.ScheduleJobResponse:
        jobs.check_there(request.HasField("job"))
        await jobs.schedule(request.job, overwrite=request.overwrite)
        return pb.ScheduleJobResponse()

    async def get(request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        return pb.GetJobResponse(job=await jobs.get(request.name))

    async def delete(request: pb.DeleteJobRequest, context: Context) -> pb.DeleteJobResponse:
        await jobs.delete(request.name)
        return pb.DeleteJobResponse()

    async def list_all(request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        return pb.ListJobsResponse(jobs=await jobs.list())

    async def list_alpha(
        request: pb.ListJobsRequestAlpha1, context: Context
    ) -> pb.ListJobsResponseAlpha1:
        return pb.ListJobsResponseAlpha1(jobs=await jobs.list())

    async def delete_by_prefix(
        request: pb.DeleteJobsByPrefixRequest, context: Context
    ) -> pb.DeleteJobsByPrefixResponse:
        await jobs.delete_by_prefix(request.name_prefix)
        return pb.DeleteJobsByPrefixResponse()

    async def delete_by_prefix_alpha(
        request: pb.DeleteJobsByPrefixRequestAlpha1, context: Context
    ) -> pb.DeleteJobsByPrefixResponseAlpha1:
        await jobs.delete_by_prefix(request.name_prefix)
        return pb.DeleteJobsByPrefixResponseAlpha1()

    rows: list[tuple[str, Any, Any, Any]] = []
    for name, request, response, handler in (
        ("ScheduleJob", pb.ScheduleJobRequest, pb.ScheduleJobResponse, schedule),
        ("GetJob", pb.GetJobRequest, pb.GetJobResponse, get),
        ("DeleteJob", pb.DeleteJobRequest, pb.DeleteJobResponse, delete),
    ):
        rows += [(name, request, response, handler), (f"{name}Alpha1", request, response, handler)]
    rows += [
        ("ListJobs", pb.ListJobsRequest, pb.ListJobsResponse, list_all),
        ("ListJobsAlpha1", pb.ListJobsRequestAlpha1, pb.ListJobsResponseAlpha1, list_alpha),
        (
            "DeleteJobsByPrefix",
            pb.DeleteJobsByPrefixRequest,
            pb.DeleteJobsByPrefixResponse,
            delete_by_prefix,
        ),
        (
            "DeleteJobsByPrefixAlpha1",
            pb.DeleteJobsByPrefixRequestAlpha1,
            pb.DeleteJobsByPrefixResponseAlpha1,
            delete_by_prefix_alpha,
        ),
    ]
    return [Method(_SERVICE + name, "unary_unary", q, r, handler) for name, q, r, handler in rows]
