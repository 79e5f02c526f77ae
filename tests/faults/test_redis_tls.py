"""Redis over TLS: certificates that do not fit are refused with their reason."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from harness.block_api import make
from harness.programs import free_port
from harness.redis_server import redis_server

from dapr_sidecar.components.redis.connection import RedisConnectionError
from dapr_sidecar.components.state.base import GetRequest, SetRequest
from dapr_sidecar.components.state.redis import RedisStateStore


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def address(tmp_path: Path, ca: trustme.CA) -> Iterator[str]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    if b"--tls" not in subprocess.run(["redis-cli", "--help"], capture_output=True).stdout:
        pytest.skip("redis-server is built without TLS")
    certificate = ca.issue_cert("localhost")
    files = [tmp_path / name for name in ("ca.pem", "server.pem", "server.key")]
    ca.cert_pem.write_to_path(str(files[0]))
    certificate.cert_chain_pems[0].write_to_path(str(files[1]))
    certificate.private_key_pem.write_to_path(str(files[2]))
    port = free_port()
    flags = ("--tls-port", str(port), "--tls-ca-cert-file", str(files[0]))
    flags += ("--tls-cert-file", str(files[1]), "--tls-key-file", str(files[2]))
    with redis_server(*flags):
        yield f"localhost:{port}"


async def test_an_unknown_authority(address: str) -> None:
    store = make(RedisStateStore, redisHost=address, enableTLS="true", redisMaxRetries="0")
    with pytest.raises(RedisConnectionError, match="certificate verify failed"):
        await store.open()


async def test_with_a_client_certificate(address: str, ca: trustme.CA) -> None:
    mine = ca.issue_cert("client")
    store = make(
        RedisStateStore,
        redisHost=address,
        enableTLS="true",
        insecureSkipTLSVerify="true",
        clientCert=mine.cert_chain_pems[0].bytes().decode(),
        clientKey=mine.private_key_pem.bytes().decode(),
    )
    await store.open()
    await store.set(SetRequest("k", b"1"))
    assert (await store.get(GetRequest("k"))).data == b"1"
    await store.close()


async def test_without_the_client_certificate_that_is_asked_for(address: str) -> None:
    store = make(
        RedisStateStore,
        redisHost=address,
        enableTLS="true",
        insecureSkipTLSVerify="true",
        redisMaxRetries="0",
    )
    with pytest.raises(RedisConnectionError):
        await store.open()
