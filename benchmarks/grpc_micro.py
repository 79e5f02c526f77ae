"""CPU per unary call: this project's gRPC server and client beside ``grpc.aio``, in one run.

    python -m benchmarks.grpc_micro [--streams 32] [--seconds 2] [--rounds 3] [--size 1024]

Both servers run in processes of their own and are driven by the same client; both clients drive
the same server. The figure is processor time of the measured process per call, all its threads.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.machine import cpu_seconds

PATH = "/bench.Echo/Get"
Call = Callable[[], Awaitable[object]]


def run_loop(main: Any) -> None:
    import uvloop

    gc.freeze()
    uvloop.run(main)


# --- servers ------------------------------------------------------------------------------------


def serve_ours(pipe: Any, size: int) -> None:
    from dapr_common.grpc.server import Context, GrpcServer, Method
    from dapr_common.wire.dapr.proto.runtime.v1 import state_pb2

    body = os.urandom(size)

    async def get(request: Any, context: Context) -> Any:
        return state_pb2.GetStateResponse(data=body, etag=request.key)

    async def main() -> None:
        server = GrpcServer(max_receive_bytes=4 << 20)
        types = (state_pb2.GetStateRequest, state_pb2.GetStateResponse)
        server.add(Method(PATH, "unary_unary", *types, get))
        pipe.send(await server.listen_tcp("127.0.0.1", 0))
        await asyncio.Event().wait()

    run_loop(main())


def serve_grpcio(pipe: Any, size: int) -> None:
    import grpc  # type: ignore[import-untyped]

    from dapr_common.wire.dapr.proto.runtime.v1 import state_pb2

    body = os.urandom(size)

    async def get(request: Any, context: Any) -> Any:
        return state_pb2.GetStateResponse(data=body, etag=request.key)

    async def main() -> None:
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(
            get,
            state_pb2.GetStateRequest.FromString,
            state_pb2.GetStateResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("bench.Echo", {"Get": handler}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        pipe.send(port)
        await server.wait_for_termination()

    asyncio.run(main())


# --- clients ------------------------------------------------------------------------------------


def drive_ours(pipe: Any, port: int, streams: int) -> None:
    from dapr_common.grpc.client import GrpcChannel
    from dapr_common.wire.dapr.proto.runtime.v1 import state_pb2

    request = state_pb2.GetStateRequest(store_name="store", key="key")

    async def main() -> None:
        channel = GrpcChannel(f"127.0.0.1:{port}")

        async def call() -> None:
            await channel.unary(PATH, request, state_pb2.GetStateResponse)

        await drive(pipe, call, streams)

    run_loop(main())


def drive_grpcio(pipe: Any, port: int, streams: int) -> None:
    import grpc

    from dapr_common.wire.dapr.proto.runtime.v1 import state_pb2

    request = state_pb2.GetStateRequest(store_name="store", key="key")

    async def main() -> None:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        method = channel.unary_unary(
            PATH,
            state_pb2.GetStateRequest.SerializeToString,
            state_pb2.GetStateResponse.FromString,
        )

        async def call() -> None:
            await method(request)

        await drive(pipe, call, streams)

    asyncio.run(main())


async def drive(pipe: Any, call: Call, streams: int) -> None:
    """Answer each number of seconds on the pipe with the calls done in them."""
    await call()
    pipe.send(0)
    loop = asyncio.get_running_loop()
    while True:
        seconds = await loop.run_in_executor(None, pipe.recv)
        if seconds is None:
            return
        deadline = time.perf_counter() + seconds
        done = [0]

        async def worker(deadline: float = deadline, done: list[int] = done) -> None:
            while time.perf_counter() < deadline:
                await call()
                done[0] += 1

        await asyncio.gather(*[worker() for _ in range(streams)])
        pipe.send(done[0])


# --- the run ------------------------------------------------------------------------------------


class Program:
    """A process with a pipe to it."""

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
        self.process.start()
        self.answer = self.pipe.recv()

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()

    @property
    def cpu(self) -> float:
        return cpu_seconds(self.process.pid or 0)


def measure(client: Program, measured: Program, seconds: float) -> tuple[float, float]:
    """Microseconds of CPU of ``measured`` per call, and calls per second."""
    before = measured.cpu
    client.pipe.send(seconds)
    calls = client.pipe.recv()
    return (measured.cpu - before) / calls * 1e6, calls / seconds


def report(title: str, rows: dict[str, list[tuple[float, float]]]) -> None:
    medians = {name: statistics.median(cpu for cpu, _ in found) for name, found in rows.items()}
    print(title)
    for name, found in rows.items():
        rate = statistics.median(calls for _, calls in found)
        ratio = medians["grpc.aio"] / medians[name]
        print(f"  {name:10} {medians[name]:8.1f} us CPU/call  {rate:9.0f} calls/s  {ratio:5.1f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=1024)
    options = parser.parse_args()
    servers = {
        "ours": Program(serve_ours, options.size),
        "grpc.aio": Program(serve_grpcio, options.size),
    }
    ports = {name: server.answer for name, server in servers.items()}
    streams = options.streams
    to = {name: Program(drive_ours, port, streams) for name, port in ports.items()}
    clients = {"ours": to["ours"], "grpc.aio": Program(drive_grpcio, ports["ours"], streams)}
    as_server: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
    as_client: dict[str, list[tuple[float, float]]] = {name: [] for name in clients}
    for _ in range(options.rounds):
        for name, server in servers.items():
            as_server[name].append(measure(to[name], server, options.seconds))
        for name, client in clients.items():
            as_client[name].append(measure(client, client, options.seconds))
    report(f"server, {streams} streams on one connection, {options.size} bytes", as_server)
    report("client, against our server", as_client)
    for client in {*to.values(), *clients.values()}:
        client.pipe.send(None)
        client.process.join()
    for server in servers.values():
        server.stop()


if __name__ == "__main__":
    main()
