"""Certificates a second: in process, through gRPC, and for a fleet that renews at once.

    python -m benchmarks.sentry [--seconds 3] [--sidecars 1000] [--issuer ed25519|ecdsa|rsa]

Sentry is a real process on a core of its own (where there are two). Requests carry ECDSA keys. The
fleet opens one TLS connection per sidecar, as sidecars do, and all want their answer within 3 s
of the same moment. One core stands for the machines of the whole fleet: it does not verify sentry's
certificate, and has only so many handshakes under way that each ends soon.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.machine import children_on, choose_cores, cpu_seconds, describe, resident_bytes
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.security.authority import (
    CaBundle,
    Life,
    Signer,
    ca_certificate,
    issuer_certificate,
    new_bundle,
)
from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.x509 import KeyKind, new_csr, new_private_key
from dapr_common.wire.dapr.proto.sentry.v1 import sentry_pb2 as pb
from dapr_sentry.ca import CertificateAuthority
from dapr_sentry.csr import public_key

SIGN = "/dapr.proto.sentry.v1.CA/SignCertificate"
DEADLINE = 3.0
CONNECTIONS, STREAMS = 4, 8
AT_A_TIME = 64
CSR = new_csr(new_private_key("ecdsa"))


def authority(kind: KeyKind) -> CaBundle:
    life = Life.of(datetime.now(UTC))
    if kind == "ed25519":
        return new_bundle("cluster.local", "default", life)
    names = new_bundle("cluster.local", "default", life)
    root_key, key = new_private_key(kind), new_private_key(kind)
    root_name = names.anchors[0].subject
    root = ca_certificate(root_name, root_key.public_key(), Signer(root_name, root_key), life)
    issuer = issuer_certificate(names.issuer.subject, key, Signer.of(root, root_key), life)
    return CaBundle((root,), (issuer,), key)


# --- in process ---------------------------------------------------------------------------------


def in_process(bundle: CaBundle, seconds: float) -> float:
    """Requests read, checked and signed in a second of one core."""
    ca = CertificateAuthority(
        bundle,
        namespace="default",
        cluster_domain="cluster.local",
        ttl=timedelta(days=1),
        clock_skew=timedelta(minutes=15),
    )
    identity = SpiffeId("public", "default", "app")
    done, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds:
        ca.issue(identity, public_key(CSR), datetime.now(UTC))
        done += 1
    return done / spent


# --- a real sentry ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Running:
    pid: int
    port: int


@contextmanager
def sentry(bundle: CaBundle) -> Iterator[Running]:
    port, health, metrics = (_free_port() for _ in range(3))
    with tempfile.TemporaryDirectory() as folder:
        files = {"ca.crt": bundle.anchors_pem, "issuer.crt": bundle.chain_pem}
        for name, content in {**files, "issuer.key": bundle.key_pem, "config.yaml": b""}.items():
            Path(folder, name).write_bytes(content)
        command = [sys.executable, "-m", "dapr_sentry", "--config", f"{folder}/config.yaml"]
        command += ["--issuer-credentials", folder, "--log-level", "error"]
        command += [f"--port={port}", f"--healthz-port={health}", f"--metrics-port={metrics}"]
        process = subprocess.Popen([*command, "--listen-address", "127.0.0.1"])
        try:
            _wait_for(port)
            yield Running(process.pid, port)
        finally:
            process.terminate()
            process.wait(15)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def request(app_id: str) -> pb.SignCertificateRequest:
    return pb.SignCertificateRequest(
        id=app_id, namespace="default", certificate_signing_request=CSR
    )


async def through_grpc(to: Running, seconds: float) -> tuple[float, float]:
    """Certificates a second, and a second of sentry's processor."""
    context = tls()
    channels = [GrpcChannel(f"127.0.0.1:{to.port}", ssl=context) for _ in range(CONNECTIONS)]
    message = request("app")
    done = 0

    async def worker(one: GrpcChannel, until: float) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await one.unary(SIGN, message, pb.SignCertificateResponse, timeout=DEADLINE)
            done += 1

    await asyncio.gather(*(worker(one, 0.0) for one in channels))
    for one in channels:
        await one.unary(SIGN, message, pb.SignCertificateResponse, timeout=DEADLINE)
    done, cpu, began = 0, cpu_seconds(to.pid), time.perf_counter()
    until = began + seconds
    await asyncio.gather(*(worker(one, until) for one in channels for _ in range(STREAMS)))
    wall, spent = time.perf_counter() - began, cpu_seconds(to.pid) - cpu
    await asyncio.gather(*(one.close() for one in channels))
    return done / wall, done / spent


# --- a fleet ------------------------------------------------------------------------------------


@dataclass
class Fleet:
    """What became of a fleet's requests: milliseconds of the answered ones."""

    milliseconds: list[float]
    failed: int
    seconds: float


async def fleet(to: Running, sidecars: int) -> Fleet:
    """Every sidecar connects and asks at the same moment; one try, one deadline for all."""
    outcome = Fleet([], 0, 0.0)
    context = tls()
    channels = [GrpcChannel(f"127.0.0.1:{to.port}", ssl=context) for _ in range(sidecars)]
    machines = asyncio.Semaphore(AT_A_TIME)
    began = time.perf_counter()

    async def renew(number: int) -> None:
        async with machines:
            left = DEADLINE - (time.perf_counter() - began)
            try:
                await channels[number].unary(
                    SIGN, request(f"app-{number}"), pb.SignCertificateResponse, timeout=left
                )
            except RpcError:
                outcome.failed += 1
            else:
                outcome.milliseconds.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(*(renew(number) for number in range(sidecars)))
    outcome.seconds = time.perf_counter() - began
    await asyncio.gather(*(one.close() for one in channels))
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--sidecars", type=int, default=1000)
    parser.add_argument("--issuer", choices=["ed25519", "ecdsa", "rsa"], default="ed25519")
    options = parser.parse_args()
    import uvloop

    cores = choose_cores()
    print(f"{describe(cores)}\nissuer {options.issuer}")
    bundle = authority(options.issuer)
    print(f"in process        {in_process(bundle, options.seconds):8.0f} certificates/s of a core")
    with children_on(cores.tested):
        program = sentry(bundle)
        running = program.__enter__()
    try:
        os.sched_setaffinity(0, cores.load)
        gc.freeze()
        rate, per_core = uvloop.run(through_grpc(running, options.seconds))
        print(f"through gRPC      {rate:8.0f} certificates/s, {per_core:.0f} of a core")
        before, cpu = resident_bytes(running.pid), cpu_seconds(running.pid)
        found = uvloop.run(fleet(running, options.sidecars))
        spent, after = cpu_seconds(running.pid) - cpu, resident_bytes(running.pid)
    finally:
        program.__exit__(None, None, None)
    times = sorted(found.milliseconds) or [0.0]
    print(
        f"{options.sidecars} sidecars at once: {len(found.milliseconds)} answered, "
        f"{found.failed} failed; all in {found.seconds:.2f} s; median "
        f"{statistics.median(times):.0f} ms, last {times[-1]:.0f} ms; sentry used {spent:.2f} s, "
        f"{before >> 20} -> {after >> 20} MiB"
    )
    if found.failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
