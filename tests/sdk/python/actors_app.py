"""Hosts actors with the official Python SDK; its argument is how: fastapi, flask or grpc.

``grpc`` needs no server of its own: the SDK opens a stream to the sidecar.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

from actors_types import ACTORS, CONFIG, report
from dapr.actor import ActorRuntime

PORT = int(os.environ["APP_PORT"])


def run_fastapi() -> None:
    import uvicorn
    from dapr.ext.fastapi import DaprActor
    from fastapi import FastAPI

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI):  # type: ignore[no-untyped-def]
        for one in ACTORS:
            await host.register_actor(one)
        yield

    app = FastAPI(lifespan=lifespan)
    host = DaprActor(app)
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")


def run_flask() -> None:
    from flask import Flask
    from flask_dapr.actor import DaprActor

    app = Flask("actors")
    host = DaprActor(app)
    for one in ACTORS:
        host.register_actor(one)
    app.run(host="127.0.0.1", port=PORT)


async def run_grpc() -> None:
    from dapr.actor.runtime.grpc_host import ActorGrpcHost

    host = ActorGrpcHost()
    for one in ACTORS:
        await host.register_actor(one)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    await host.start()
    report(event="registered")
    await stopped.wait()
    await host.close()


if __name__ == "__main__":
    ActorRuntime.set_actor_config(CONFIG)
    match sys.argv[1]:
        case "fastapi":
            run_fastapi()
        case "flask":
            run_flask()
        case "grpc":
            asyncio.run(run_grpc())
