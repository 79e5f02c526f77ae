"""``bindings.gcp.bucket`` on a server that we did not write, where it can be had."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from harness.block_api import make
from harness.gcs_emulator import GcsEmulator

from dapr_sidecar.components.bindings.base import InvokeRequest
from dapr_sidecar.components.bindings.gcp_bucket import GcpBucketBinding
from dapr_sidecar.components.metadata import SettingsError

ODD = ["d/a b", "ü+%?#&=;'()*.txt", "日本", "two//lines"]


@pytest.fixture(scope="module")
def emulator() -> Iterator[GcsEmulator]:
    with GcsEmulator() as found:
        found.make_bucket("photos")
        found.make_bucket("other")
        yield found


@pytest.fixture
async def binding(emulator: GcsEmulator) -> AsyncIterator[GcpBucketBinding]:
    found: GcpBucketBinding = make(
        GcpBucketBinding, endpoint=emulator.url, project_id="p", bucket="photos"
    )
    await found.open()
    await found.ping()
    yield found
    await found.close()


async def call(
    binding: GcpBucketBinding, operation: str, data: Any = b"", **metadata: str
) -> bytes:
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    answer = await binding.invoke(InvokeRequest(operation, content, metadata))
    return b"" if answer is None else answer.data


async def test_objects_come_and_go(binding: GcpBucketBinding) -> None:
    content = bytes(range(256)) * 20
    for key in ODD:
        await call(binding, "create", content, key=key)
        assert await call(binding, "get", key=key) == content
    listed = json.loads(await call(binding, "list"))
    assert sorted(one["Name"] for one in listed) == sorted(ODD)
    assert {one["Size"] for one in listed} == {len(content)}
    assert len({one["CRC32C"] for one in listed}) == 1
    found = json.loads(await call(binding, "list", {"delimiter": "/"}))
    assert {one["Prefix"] for one in found} == {"", "d/", "two/"}
    read = json.loads(await call(binding, "bulkGet", encodeBase64="true"))
    assert sorted(one["name"] for one in read) == sorted(ODD)
    for key in ODD:
        await call(binding, "delete", key=key)
        with pytest.raises(FileNotFoundError):
            await call(binding, "get", key=key)
    assert await call(binding, "list") == b"null"


async def test_objects_go_elsewhere(binding: GcpBucketBinding, emulator: GcsEmulator) -> None:
    await call(binding, "create", b"x", key="d/k")
    await call(binding, "copy", {"destinationBucket": "other"}, key="d/k")
    await call(binding, "rename", {"newName": "new ü"}, key="d/k")
    await call(binding, "move", {"destinationBucket": "other"}, key="new ü")
    assert await call(binding, "list") == b"null"
    other: GcpBucketBinding = make(
        GcpBucketBinding, endpoint=emulator.url, project_id="p", bucket="other"
    )
    await other.open()
    for key in ("d/k", "new ü"):
        assert await call(other, "get", key=key) == b"x"
    await other.close()


async def test_a_bucket_that_is_not_there(emulator: GcsEmulator) -> None:
    binding: GcpBucketBinding = make(
        GcpBucketBinding, endpoint=emulator.url, project_id="p", bucket="none"
    )
    with pytest.raises(SettingsError, match="'bucket'"):
        await binding.open()
    await binding.close()
