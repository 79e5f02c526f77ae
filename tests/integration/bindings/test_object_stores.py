"""Object stores in a real sidecar: one app, three manifests, over HTTP and gRPC."""

from __future__ import annotations

import asyncio
import json
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.backends import Backends
from harness.http_call import Answer, acall
from harness.sidecar import Manifest, Sidecar, component
from harness.stand_in_gcs import stand_in_gcs

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.runtime.v1 import binding_pb2

INVOKE = "/dapr.proto.runtime.v1.Dapr/InvokeBinding"
ACCOUNT = "devstoreaccount1"
# Of the emulator's documentation: every Azurite has it.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def s3(backends: Backends, root: Path) -> Manifest:
    bucket, endpoint = f"b-{uuid.uuid4().hex[:8]}", f"http://{backends.shared('aws').address}"
    request = urllib.request.Request(f"{endpoint}/{bucket}", method="PUT")
    urllib.request.urlopen(request, timeout=20).close()
    keys = {"accessKey": "x", "secretKey": "x", "forcePathStyle": "true"}
    place = {"bucket": bucket, "region": "us-east-1", "endpoint": endpoint}
    return component("files", "bindings.aws.s3", **place, **keys, filesRoot=root)


def blobs(backends: Backends, root: Path) -> Manifest:
    place = {
        "endpoint": f"http://{backends.shared('azurite').address}",
        "containerName": f"c-{uuid.uuid4().hex[:8]}",
    }
    who = {"accountName": ACCOUNT, "accountKey": KEY}
    return component("files", "bindings.azure.blobstorage", **place, **who, filesRoot=root)


@pytest.fixture(params=["s3", "blobstorage", "gcp"])
def store(
    request: pytest.FixtureRequest, backends: Backends, tmp_path: Path
) -> Iterator[tuple[Manifest, str]]:
    """A manifest, and what requests call an object's name."""
    if request.param == "s3":
        yield s3(backends, tmp_path), "key"
    elif request.param == "blobstorage":
        yield blobs(backends, tmp_path), "blobName"
    else:
        with stand_in_gcs() as gcs:
            place = {"project_id": "p", "bucket": "photos", "endpoint": gcs.url}
            yield component("files", "bindings.gcp.bucket", **place), "key"


class App:
    """What an app does over HTTP."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._port = sidecar.http_port

    async def invoke(self, operation: str, data: Any = None, **metadata: str) -> Answer:
        body = {"operation": operation, "data": data, "metadata": metadata}
        return await acall(self._port, "POST", "/v1.0/bindings/files", body)


async def test_an_app_keeps_files(store: tuple[Manifest, str]) -> None:
    manifest, key = store
    async with Sidecar(resources=[manifest]) as sidecar:
        app = App(sidecar)
        made = await app.invoke("create", "Hello World", **{key: "d/hello.txt"})
        assert made.status == 200, made.body
        assert any("d/hello.txt" in str(value) for value in made.json.values())
        got = await app.invoke("get", **{key: "d/hello.txt"})
        assert (got.status, got.body) == (200, b"Hello World")
        await app.invoke("create", {"a": [1, 2]}, **{key: "d/object.json"})
        assert (await app.invoke("get", **{key: "d/object.json"})).json == {"a": [1, 2]}
        listed = await app.invoke("list", {"prefix": "d/"})
        assert listed.status == 200
        assert "d/hello.txt" in listed.body.decode()
        assert "d/object.json" in listed.body.decode()
        gone = await app.invoke("delete", **{key: "d/hello.txt"})
        assert (gone.status, gone.body) == (204, b"")
        missing = await app.invoke("get", **{key: "d/hello.txt"})
        assert (missing.status, missing.code) == (500, "ERR_INVOKE_OUTPUT_BINDING")
        assert "not found: d/hello.txt" in missing.json["message"]
        refused = await app.invoke("get")
        assert f"required metadata not set: {key}" in refused.json["message"]


async def test_bytes_over_grpc(store: tuple[Manifest, str]) -> None:
    manifest, key = store
    content = bytes(range(256)) * 4096  # 1 MiB
    async with Sidecar(resources=[manifest]) as sidecar:
        channel = GrpcChannel(sidecar.grpc_address)

        async def invoke(operation: str, data: bytes = b"") -> bytes:
            request = binding_pb2.InvokeBindingRequest(
                name="files", operation=operation, data=data, metadata={key: "bytes"}
            )
            answer = binding_pb2.InvokeBindingResponse
            found = await channel.unary(INVOKE, request, answer, timeout=30)
            return bytes(found.message.data)

        try:
            await invoke("create", content)
            assert await invoke("get") == content
            await invoke("delete")
            with pytest.raises(RpcError, match="not found: bytes") as caught:
                await invoke("get")
            assert caught.value.code is GrpcCode.INTERNAL
        finally:
            await channel.close()


async def test_a_file_that_the_sidecar_must_not_read(backends: Backends, tmp_path: Path) -> None:
    """A request names files of the sidecar's machine: none outside of the manifest's folder."""
    manifest = await asyncio.to_thread(s3, backends, tmp_path / "files")
    (tmp_path / "secret").write_text("s3cr3t")
    async with Sidecar(resources=[manifest]) as sidecar:
        app = App(sidecar)
        for path in (str(tmp_path / "secret"), "../secret", "/proc/self/environ"):
            refused = await app.invoke("create", key="k", filePath=path)
            assert refused.status == 500
            assert "'filesRoot'" in refused.json["message"]
        assert json.loads((await app.invoke("list")).body)["Contents"] is None


def test_a_bucket_that_is_not_there_is_told_at_the_start(
    backends: Backends, tmp_path: Path
) -> None:
    manifest = s3(backends, tmp_path)
    for item in manifest["spec"]["metadata"]:
        if item["name"] == "bucket":
            item["value"] = "is-not-there"
    sidecar = Sidecar(resources=[manifest], ready="", exit_code=1)
    sidecar.start()
    try:
        assert sidecar.wait_exit(40) == 1, sidecar.log
    finally:
        sidecar.stop()
    (line,) = [line for line in sidecar.lines if "level=fatal" in line]
    assert "initialization error occurred for files (bindings.aws.s3/v1): " in line
    assert "invalid metadata field 'bucket'" in line
    assert "NoSuchBucket" in line
