"""The yardstick R: what an afternoon with aiohttp, redis-py and grpcio gives, and no more.

It serves the paths the benchmark asks for, with Dapr's layout in Redis, and leaves out everything
else a sidecar does: no metrics, no traces, no policies, no error answers of its own.

    python -m benchmarks.reference --app-id a --http-port 3500 --redis-port 6379 [...]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import uuid
from typing import Any

import aiohttp
import grpc  # type: ignore[import-untyped]
import redis.asyncio
from aiohttp import web

from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import invoke_pb2, state_pb2

_SERVICE = "dapr.proto.runtime.v1.Dapr"
_IN_FLIGHT = 10
_READ_COUNT = 100
_SET = """
local version = redis.call('HGET', KEYS[1], 'version')
if version and ARGV[1] ~= '0' and version ~= ARGV[1] then
  return redis.error_reply('failed to set key ' .. KEYS[1])
end
redis.call('HSET', KEYS[1], 'data', ARGV[2])
return redis.call('HINCRBY', KEYS[1], 'version', 1)
"""


class Reference:
    """One server; ``options`` are the command line's."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._id: str = options.app_id
        self._topic: str = options.topic
        self._app = f"http://127.0.0.1:{options.app_port}"
        self._peer = f"http://127.0.0.1:{options.peer_http_port}"
        self._peer_grpc = f"127.0.0.1:{options.peer_grpc_port}"
        self._has_app = bool(options.app_port)
        self._redis = redis.asyncio.Redis(port=options.redis_port)
        self._session = aiohttp.ClientSession()
        self._channel = grpc.aio.insecure_channel(self._peer_grpc)
        self._forward = self._channel.unary_unary(
            f"/{_SERVICE}/InvokeService",
            invoke_pb2.InvokeServiceRequest.SerializeToString,
            common_pb2.InvokeResponse.FromString,
        )

    # --- HTTP -------------------------------------------------------------------------------

    def routes(self) -> list[web.RouteDef]:
        """The HTTP API."""
        return [
            web.get("/v1.0/healthz", self._health),
            web.get("/v1.0/state/{store}/{key}", self._get),
            web.post("/v1.0/state/{store}", self._save),
            web.post("/v1.0/publish/{pubsub}/{topic}", self._publish),
            web.post("/v1.0/invoke/{id}/method/{method}", self._invoke),
        ]

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=204)

    async def _get(self, request: web.Request) -> web.Response:
        found = await self._read(request.match_info["key"])
        if not found:
            return web.Response(status=204)
        return web.Response(
            body=found[b"data"],
            content_type="application/json",
            headers={"ETag": found[b"version"].decode()},
        )

    async def _save(self, request: web.Request) -> web.Response:
        for item in await request.json():
            data = json.dumps(item["value"], separators=(",", ":"))
            key = f"{self._id}||{item['key']}"
            await self._redis.eval(_SET, 1, key, item.get("etag") or 0, data)
        return web.Response(status=204)

    async def _publish(self, request: web.Request) -> web.Response:
        topic = request.match_info["topic"]
        event = {
            "id": str(uuid.uuid4()),
            "specversion": "1.0",
            "type": "com.dapr.event.sent",
            "source": self._id,
            "topic": topic,
            "pubsubname": request.match_info["pubsub"],
            "datacontenttype": "application/json",
            "data": await request.json(),
        }
        await self._redis.xadd(topic, {"data": json.dumps(event)})
        return web.Response(status=204)

    async def _invoke(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {"Content-Type": request.content_type}
        url = f"{self._app}/{request.match_info['method']}"
        if request.match_info["id"] != self._id:
            url = self._peer + request.path
        async with self._session.post(url, data=body, headers=headers) as answer:
            return web.Response(
                status=answer.status, body=await answer.read(), content_type=answer.content_type
            )

    async def _read(self, key: str) -> dict[bytes, bytes]:
        found: Any = await self._redis.hgetall(f"{self._id}||{key}")
        return dict(found)

    # --- gRPC -------------------------------------------------------------------------------

    def handlers(self) -> grpc.GenericRpcHandler:
        """The gRPC API."""
        methods = {
            "GetState": grpc.unary_unary_rpc_method_handler(
                self._grpc_get,
                state_pb2.GetStateRequest.FromString,
                state_pb2.GetStateResponse.SerializeToString,
            ),
            "InvokeService": grpc.unary_unary_rpc_method_handler(
                self._grpc_invoke,
                invoke_pb2.InvokeServiceRequest.FromString,
                common_pb2.InvokeResponse.SerializeToString,
            ),
        }
        return grpc.method_handlers_generic_handler(_SERVICE, methods)

    async def _grpc_get(self, request: Any, context: Any) -> state_pb2.GetStateResponse:
        found = await self._read(request.key)
        if not found:
            return state_pb2.GetStateResponse()
        return state_pb2.GetStateResponse(data=found[b"data"], etag=found[b"version"].decode())

    async def _grpc_invoke(self, request: Any, context: Any) -> common_pb2.InvokeResponse:
        if request.id != self._id:
            answer: common_pb2.InvokeResponse = await self._forward(request)
            return answer
        message = request.message
        url, headers = f"{self._app}/{message.method}", {"Content-Type": message.content_type}
        async with self._session.post(url, data=message.data.value, headers=headers) as found:
            response = common_pb2.InvokeResponse(content_type=found.content_type)
            response.data.value = await found.read()
            return response

    # --- delivery ---------------------------------------------------------------------------

    async def deliver(self) -> None:
        """Read the topic for the app and post each event to it, a few at a time."""
        if not self._has_app or not self._topic:
            return
        with contextlib.suppress(redis.ResponseError):  # the group is there already
            await self._redis.xgroup_create(self._topic, self._id, "0", mkstream=True)
        slots = asyncio.Semaphore(_IN_FLIGHT)
        async with asyncio.TaskGroup() as tasks:
            while True:
                streams: Any = {self._topic: ">"}
                found = await self._redis.xreadgroup(
                    self._id, self._id, streams, count=_READ_COUNT, block=1000
                )
                for _, entries in _pairs(found):
                    for entry_id, fields in entries:
                        await slots.acquire()
                        tasks.create_task(self._deliver(entry_id, fields, slots))

    async def _deliver(
        self, entry_id: bytes, fields: dict[bytes, bytes], slots: asyncio.Semaphore
    ) -> None:
        try:
            event = json.loads(fields[b"data"])
            headers = {"Content-Type": "application/cloudevents+json"}
            body = json.dumps(event)
            async with self._session.post(f"{self._app}/event", data=body, headers=headers) as done:
                await done.read()
                if done.status == 200:
                    await self._redis.xack(self._topic, self._id, entry_id)
        finally:
            slots.release()


def _pairs(found: Any) -> list[tuple[bytes, Any]]:
    """Streams and their entries, whichever form this version of redis-py gives."""
    if isinstance(found, dict):
        return [(name, batches[0] if batches else []) for name, batches in found.items()]
    return list(found or ())


async def serve(options: argparse.Namespace) -> None:
    """Serve until the process is ended."""
    reference = Reference(options)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((reference.handlers(),))
    server.add_insecure_port(f"127.0.0.1:{options.grpc_port}")
    await server.start()
    application = web.Application()
    application.add_routes(reference.routes())
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.http_port).start()
    await reference.deliver()
    await asyncio.Event().wait()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--app-id", required=True)
    parser.add_argument("--topic", default="")
    for name in ("http", "grpc", "app", "redis", "peer-http", "peer-grpc"):
        parser.add_argument(f"--{name}-port", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
