"""Many reminders due within one minute: how late each comes, and what that costs the sidecar.

    python -m benchmarks.reminders [--count 50000] [--seconds 60] [--lead 60]
        [--store sqlite|redis] [--partitions 0]

One real sidecar on a core of its own (where there are two) with the actor state store and a real
placement. Every reminder has a due time of its own, evenly spread over the window; all are set
through the API before it opens. The application answers at once and notes the time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import uvloop
import yaml

from benchmarks.machine import choose_cores, describe
from benchmarks.programs import BenchmarkError, Program, free_port, start_redis
from dapr_common.http.client import HttpClient
from dapr_common.http.messages import Header, Request, Response
from dapr_common.http.server import HttpServer
from dapr_sidecar.blocks.actors.times import format_moment, parse_moment

_TYPE = "Bench"
_JSON: Header = (b"Content-Type", b"application/json")
_AT_A_TIME = 256
_ACTORS = 5_000


@dataclass
class App:
    """Hosts the actors; ``late`` has the seconds by which each reminder was late."""

    partitions: int
    late: list[float] = field(default_factory=list)
    names: set[bytes] = field(default_factory=set)
    port: int = 0

    async def start(self) -> None:
        server = HttpServer(self._answer, max_body_bytes=None, max_header_bytes=1 << 16)
        self.port = await server.listen_tcp("127.0.0.1", 0)
        self._server = server

    async def _answer(self, request: Request) -> Response:
        if request.path == b"/dapr/config":
            config = {"entities": [_TYPE], "remindersStoragePartitions": self.partitions}
            return Response(200, [_JSON], orjson.dumps(config))
        if b"/method/remind/" in request.path:
            now = time.time()
            body = orjson.loads(await request.read())
            self.late.append(now - parse_moment(body["dueTime"], 0))
            self.names.add(request.path)
        return Response(200, [_JSON], b"")


def quantile(values: list[float], part: float) -> float:
    return sorted(values)[min(int(len(values) * part), len(values) - 1)] * 1000


async def measure(options: argparse.Namespace, folder: Path) -> None:
    cores = choose_cores()
    os.sched_setaffinity(0, cores.load)
    print(describe(cores))
    app = App(options.partitions)
    await app.start()
    programs: list[Program] = []
    try:
        metadata = {"connectionString": str(folder / "state.db")}
        if options.store == "redis":
            redis, port = await start_redis(cores.load, folder)
            programs.append(redis)
            metadata = {"redisHost": f"127.0.0.1:{port}"}
        placement_port = await _placement(cores.load, folder, programs)
        _manifest(folder, options.store, metadata)
        ports = {name: free_port() for name in ("http", "grpc", "internal-grpc")}
        command = [str(Path(sys.executable).parent / "daprd"), "--app-id=bench"]
        command += [f"--dapr-{name}-port={port}" for name, port in ports.items()]
        command += [f"--app-port={app.port}", f"--resources-path={folder / 'resources'}"]
        command += ["--enable-metrics=false", "--dapr-listen-addresses=127.0.0.1"]
        command += [f"--placement-host-address=127.0.0.1:{placement_port}", "--log-level=warn"]
        daprd = Program(command, cores.tested, folder / "daprd.log", {"DAPR_HOST_IP": "127.0.0.1"})
        programs.insert(0, daprd)
        await daprd.ready(ports["http"])
        await _run(options, app, daprd, ports["http"])
    finally:
        for program in programs:
            await program.stop()
        print(programs[0].tail() if programs else "")


async def _run(options: argparse.Namespace, app: App, daprd: Program, port: int) -> None:
    client = HttpClient("127.0.0.1", port, max_connections=_AT_A_TIME)
    await _until_hosted(client)
    idle, resident = daprd.cpu, daprd.resident
    opens = time.time() + options.lead
    started = time.perf_counter()
    await _create(client, options, opens)
    creation, spent = time.perf_counter() - started, daprd.cpu
    print(
        f"set {options.count} reminders in {creation:.1f} s, {spent - idle:.1f} s CPU "
        f"({(spent - idle) / options.count * 1e6:.0f} µs each); "
        f"memory {resident >> 20} -> {daprd.resident >> 20} MiB"
    )
    if time.time() > opens:
        raise BenchmarkError("the window opened while reminders were still set: raise --lead")
    await asyncio.sleep(opens - time.time())
    before = daprd.cpu
    limit = opens + options.seconds + 120
    while len(app.names) < options.count and time.time() < limit:  # noqa: ASYNC110 - a look now and then
        await asyncio.sleep(0.1)
    print(
        f"fired {len(app.late)} ({len(app.names)} different) in {time.time() - opens:.1f} s, "
        f"{daprd.cpu - before:.1f} s CPU; "
        f"late: p50 {quantile(app.late, 0.5):.1f} ms, p90 {quantile(app.late, 0.9):.1f} ms, "
        f"p99 {quantile(app.late, 0.99):.1f} ms, most {quantile(app.late, 1):.1f} ms"
    )
    await client.close()


async def _until_hosted(client: HttpClient) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        response = await client.request(
            "POST", f"/v1.0/actors/{_TYPE}/0/method/m".encode(), [], b""
        )
        await response.read()
        if response.status == 200:
            return
        await asyncio.sleep(0.1)
    raise BenchmarkError("the actors are not hosted")


async def _create(client: HttpClient, options: argparse.Namespace, opens: float) -> None:
    numbers = iter(range(options.count))

    async def work() -> None:
        for number in numbers:
            due = opens + number / options.count * options.seconds
            target = f"/v1.0/actors/{_TYPE}/{number % _ACTORS}/reminders/r{number}".encode()
            body = orjson.dumps({"dueTime": format_moment(due), "data": {"number": number}})
            response = await client.request("POST", target, [_JSON], body)
            text = await response.read()
            if response.status != 204:
                raise BenchmarkError(f"{response.status} {text!r}")

    await asyncio.gather(*(work() for _ in range(_AT_A_TIME)))


async def _placement(cores: frozenset[int], folder: Path, programs: list[Program]) -> int:
    port, health, metrics = free_port(), free_port(), free_port()
    command = [str(Path(sys.executable).parent / "dapr-placement"), f"--port={port}"]
    command += [f"--healthz-port={health}", f"--metrics-port={metrics}"]
    program = Program(
        [*command, "--listen-address=127.0.0.1", "--log-level=warn"],
        cores,
        folder / "placement.log",
    )
    programs.append(program)  # to be stopped, ready or not
    await program.ready(health, "/healthz")
    return port


def _manifest(folder: Path, store: str, metadata: dict[str, str]) -> None:
    items = [{"name": k, "value": v} for k, v in {**metadata, "actorStateStore": "true"}.items()]
    manifest = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": "statestore"},
        "spec": {"type": f"state.{store}", "version": "v1", "metadata": items},
    }
    (folder / "resources").mkdir()
    (folder / "resources" / "state.yaml").write_text(yaml.safe_dump(manifest))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reminders", description=__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the window")
    parser.add_argument("--lead", type=float, default=60.0, help="seconds to set them in")
    parser.add_argument("--store", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--partitions", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reminders-", ignore_cleanup_errors=True) as folder:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(measure(options, Path(folder)))
        except BenchmarkError as error:
            print(f"benchmark failed: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
