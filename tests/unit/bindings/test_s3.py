"""Objects of Amazon S3, on moto: it keeps what it is told, and checks no signature."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from harness.backends import Backends
from harness.block_api import make

from dapr_sidecar.components.aws.s3 import S3Error
from dapr_sidecar.components.bindings.base import InvokeRequest, InvokeResponse
from dapr_sidecar.components.bindings.s3 import S3Binding
from dapr_sidecar.components.metadata import SettingsError

Run = Callable[..., Awaitable[InvokeResponse]]
ODD = ["a b/ü+%?#&=;'()*.txt", "/leading", "two//lines", "~.-_", "日本"]


@pytest.fixture
def address(backends: Backends) -> str:
    return backends.shared("aws").address


# moto looks whether there is a signature, not at it.
SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=x",
    "Content-Type": "application/xml",
}


async def ask(
    method: str, url: str, body: bytes | None = None, *, signed: bool = True
) -> tuple[bytes, Any]:
    """As somebody else does."""

    def send() -> tuple[bytes, Any]:
        request = urllib.request.Request(url, body, SIGNED if signed else {}, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read(), answer.headers

    return await asyncio.to_thread(send)


@pytest.fixture
async def bucket(address: str) -> str:
    name = f"b-{uuid.uuid4().hex[:12]}"
    await ask("PUT", f"http://{address}/{name}")
    return name


@pytest.fixture
async def binding(address: str, bucket: str, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    made: list[S3Binding] = []

    async def build(**more: str) -> Run:
        given = {
            "endpoint": f"http://{address}",
            "region": "us-east-1",
            "accessKey": "key",
            "secretKey": "secret",
            "bucket": bucket,
            "forcePathStyle": "true",
            "filesRoot": str(tmp_path),
            **more,
        }
        found: S3Binding = make(S3Binding, **given)
        made.append(found)
        await found.open()

        async def call(operation: str, data: Any = b"", **metadata: str) -> InvokeResponse:
            content = data if isinstance(data, bytes) else json.dumps(data).encode()
            answer = await found.invoke(InvokeRequest(operation, content, metadata))
            return answer or InvokeResponse(b"nothing")

        return call

    yield build
    for one in made:
        await one.close()


@pytest.fixture
async def run(binding: Callable[..., Awaitable[Run]]) -> Run:
    return await binding()


async def test_create_says_where_it_is(run: Run, address: str, bucket: str) -> None:
    made = json.loads((await run("create", "Hello World", key="d/my file.txt")).data)
    url = f"http://{address}/{bucket}/d/my%20file.txt"
    assert made == {"location": url, "versionID": None}
    assert (await ask("GET", url))[0] == b"Hello World"
    assert (await run("get", key="d/my file.txt")).data == b"Hello World"


async def test_a_name_is_made_up(run: Run) -> None:
    made = json.loads((await run("create", b"x")).data)
    name = made["location"].rpartition("/")[2]
    assert uuid.UUID(name).version == 4
    assert (await run("get", key=name)).data == b"x"


@pytest.mark.parametrize("key", ODD)
async def test_odd_names(run: Run, key: str) -> None:
    await run("create", key.encode(), key=key)
    assert (await run("get", key=key)).data == key.encode()
    assert (await run("delete", key=key)).data == b"nothing"
    with pytest.raises(FileNotFoundError, match="object not found"):
        await run("get", key=key)


async def test_versions(run: Run, address: str, bucket: str) -> None:
    body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    await ask("PUT", f"http://{address}/{bucket}?versioning", body)
    first = json.loads((await run("create", b"1", key="k")).data)["versionID"]
    second = json.loads((await run("create", b"2", key="k")).data)["versionID"]
    assert first
    assert second
    assert first != second


async def test_base64(binding: Callable[..., Awaitable[Run]]) -> None:
    run = await binding(decodeBase64="true", encodeBase64="true")
    content = bytes(range(256)) * 3
    text = base64.b64encode(content)
    await run("create", text.decode(), key="k")
    assert (await run("get", key="k")).data == text
    assert (await run("get", key="k", encodeBase64="false")).data == content
    await run("create", text, key="k", decodeBase64="false")
    assert (await run("get", key="k", encodeBase64="false")).data == text
    with pytest.raises(ValueError, match="no base64"):
        await run("create", b"not base64!", key="k")


async def test_what_is_said_about_an_object(
    binding: Callable[..., Awaitable[Run]], address: str, bucket: str
) -> None:
    run = await binding(storageClass="STANDARD_IA")
    await run("create", b"x", key="a", contentType="image/png", tags="project=sashimi, year=2024")
    _, headers = await ask("HEAD", f"http://{address}/{bucket}/a")
    assert headers["content-type"] == "image/png"
    assert headers["x-amz-storage-class"] == "STANDARD_IA"
    tags, _ = await ask("GET", f"http://{address}/{bucket}/a?tagging")
    for word in (b"<Key>project</Key>", b"<Value>sashimi</Value>", b"<Key>year</Key>"):
        assert word in tags
    await run("create", b"x", key="b", storageClass="ONEZONE_IA")
    _, headers = await ask("HEAD", f"http://{address}/{bucket}/b")
    assert headers["x-amz-storage-class"] == "ONEZONE_IA"
    with pytest.raises(ValueError, match="'tags'"):
        await run("create", b"x", key="c", tags="alone")
    with pytest.raises(ValueError, match="'contentType'"):
        await run("create", b"x", key="c", contentType="a\r\nb: c")


async def test_presigned_urls(run: Run, bucket: str) -> None:
    made = json.loads((await run("create", b"shared", key="d/k ü", presignTTL="15m")).data)
    assert "X-Amz-Expires=900" in made["presignURL"]
    assert (await ask("GET", made["presignURL"], signed=False))[0] == b"shared"
    found = json.loads((await run("presign", key="d/k ü", presignTTL="1h")).data)
    assert list(found) == ["presignURL"]
    assert "X-Amz-Expires=3600" in found["presignURL"]
    assert (await ask("GET", found["presignURL"], signed=False))[0] == b"shared"
    with pytest.raises(ValueError, match="'presignTTL'"):
        await run("create", b"x", key="never", presignTTL="soon")
    with pytest.raises(FileNotFoundError):  # nothing was stored for a request that is wrong
        await run("get", key="never")
    for metadata in ({"key": "k"}, {"presignTTL": "1m"}):
        with pytest.raises(ValueError, match="required metadata not set"):
            await run("presign", **metadata)


async def test_lists(run: Run, bucket: str) -> None:
    for key in ("a/1", "a/2", "b", "ü +%"):
        await run("create", b"12345", key=key)
    page = json.loads((await run("list")).data)
    assert [one["Key"] for one in page["Contents"]] == ["a/1", "a/2", "b", "ü +%"]
    assert page["CommonPrefixes"] is None
    assert (page["IsTruncated"], page["MaxKeys"], page["Name"]) == (False, 1000, bucket)
    one = page["Contents"][0]
    assert (one["Size"], one["StorageClass"]) == (5, "STANDARD")
    assert one["ETag"].startswith('"')
    assert one["LastModified"].endswith("Z")
    page = json.loads((await run("list", {"delimiter": "/", "prefix": ""})).data)
    assert page["CommonPrefixes"] == [{"Prefix": "a/"}]
    assert [one["Key"] for one in page["Contents"]] == ["b", "ü +%"]
    page = json.loads((await run("list", {"prefix": "none"})).data)
    assert page["Contents"] is None


async def test_names_that_cannot_stand_in_xml(run: Run) -> None:
    names = ["a\x01b", "c\td", "e+f g", "%2B"]
    for key in names:
        await run("create", b"", key=key)
    page = json.loads((await run("list")).data)
    assert [one["Key"] for one in page["Contents"]] == sorted(names)


async def test_pages(run: Run) -> None:
    names = [f"k{number}" for number in range(5)]
    for key in names:
        await run("create", b"", key=key)
    found: list[str] = []
    marker = ""
    while True:
        page = json.loads((await run("list", {"maxResults": 2, "marker": marker})).data)
        assert len(page["Contents"]) <= 2
        found += [one["Key"] for one in page["Contents"]]
        if not page["IsTruncated"]:
            break
        marker = page["NextMarker"]
    assert found == names


# --- many ---------------------------------------------------------------------------------------


async def test_many_are_created_read_and_deleted(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"from a file")
    items = [
        {"key": "a", "data": "text"},
        {"key": "b", "data": {"x": 1}, "contentType": "application/json"},
        {"key": "c", "filePath": "in"},
        {"key": "d"},
        {"key": "e", "filePath": "/etc/hostname"},
    ]
    made = json.loads((await run("bulkCreate", {"items": items, "concurrency": 2})).data)
    assert [one["key"] for one in made] == ["a", "b", "c", "d", "e"]
    assert all(one["location"].endswith(one["key"]) for one in made[:3])
    assert "neither 'data' nor 'filePath'" in made[3]["error"]
    assert "'filesRoot'" in made[4]["error"]
    wanted = [{"key": "a"}, {"key": "none"}, {"key": "b"}, {"key": "c", "filePath": "d/out"}]
    found = json.loads((await run("bulkGet", {"items": wanted})).data)
    assert found == [
        {"key": "a", "data": "text"},
        {"key": "none", "error": "object not found: none"},
        {"key": "b", "data": '{"x":1}'},
        {"key": "c", "filePath": "d/out"},
    ]
    assert (tmp_path / "d/out").read_bytes() == b"from a file"
    gone = json.loads((await run("bulkDelete", {"keys": ["a", "b", "none"]})).data)
    assert gone == [{"key": "a"}, {"key": "b"}, {"key": "none"}]
    left = json.loads((await run("list")).data)["Contents"]
    assert [one["Key"] for one in left] == ["c"]


async def test_more_than_one_request_may_delete(run: Run) -> None:
    await run("create", b"", key="<last> & 'odd'")
    keys = [f"none-{number}" for number in range(1200)] + ["<last> & 'odd'"]
    gone = json.loads((await run("bulkDelete", {"keys": keys})).data)
    assert [one["key"] for one in gone] == keys
    assert json.loads((await run("list")).data)["Contents"] is None


async def test_bytes_are_not_mangled_into_text(run: Run) -> None:
    await run("create", b"\xff\x00", key="k")
    request = {"items": [{"key": "k"}]}
    assert "set encodeBase64" in json.loads((await run("bulkGet", request)).data)[0]["error"]
    found = json.loads((await run("bulkGet", request, encodeBase64="true")).data)
    assert found == [{"key": "k", "data": base64.b64encode(b"\xff\x00").decode()}]


@pytest.mark.parametrize("operation", ["bulkGet", "bulkCreate", "bulkDelete"])
async def test_many_must_be_named(run: Run, operation: str) -> None:
    with pytest.raises(ValueError, match=r"missing field 'data\.(items|keys)'"):
        await run(operation, {})


# --- files --------------------------------------------------------------------------------------


async def test_large_files(run: Run, tmp_path: Path) -> None:
    content = os.urandom(9 << 20)
    (tmp_path / "in").write_bytes(content)
    await run("create", filePath=str(tmp_path / "in"), key="k")
    answer = await run("get", key="k", filePath="out")
    assert answer == InvokeResponse(b"", {"filePath": "out"})
    assert (tmp_path / "out").read_bytes() == content
    await run("get", key="k", filePath="text", encodeBase64="true")
    assert base64.b64decode((tmp_path / "text").read_bytes()) == content
    await run("create", filePath="text", key="l", decodeBase64="true")
    assert (await run("get", key="l")).data == content


async def test_files_are_refused(binding: Callable[..., Awaitable[Run]], tmp_path: Path) -> None:
    run = await binding()
    with pytest.raises(PermissionError, match="'filesRoot'"):
        await run("create", filePath="/etc/hostname")
    await run("create", b"x", key="k")
    with pytest.raises(PermissionError, match="'filesRoot'"):
        await run("get", key="k", filePath="../out")
    with pytest.raises(FileNotFoundError):
        await run("create", filePath="none")
    with pytest.raises(FileNotFoundError, match="object not found"):
        await run("get", key="none", filePath="out")
    assert not (tmp_path / "out").exists()
    without = await binding(filesRoot="")
    with pytest.raises(ValueError, match="'filePath' is not allowed"):
        await without("get", key="k", filePath="out")


# --- where it is --------------------------------------------------------------------------------


async def test_a_bucket_that_is_not_there(binding: Callable[..., Awaitable[Run]]) -> None:
    with pytest.raises(SettingsError, match=r"'bucket'.*NoSuchBucket"):
        await binding(bucket="is-not-there")


async def test_a_service_that_cannot_be_reached(binding: Callable[..., Awaitable[Run]]) -> None:
    run = await binding(endpoint="http://127.0.0.1:1")  # it may come back: the sidecar starts
    with pytest.raises(Exception, match="cannot be reached"):
        await run("get", key="k")


async def test_a_bucket_deleted_later(run: Run, address: str, bucket: str) -> None:
    await ask("DELETE", f"http://{address}/{bucket}")
    with pytest.raises(S3Error, match="NoSuchBucket"):
        await run("get", key="k")


async def test_the_bucket_in_the_host(
    binding: Callable[..., Awaitable[Run]],
    address: str,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every name is this machine's, as the service's names are the service's."""
    real = socket.getaddrinfo
    asked: list[str] = []

    def here(host: Any, *rest: Any, **named: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1", *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    port = address.rpartition(":")[2]
    endpoint = f"http://s3.us-east-1.amazonaws.com:{port}"
    run = await binding(endpoint=endpoint, forcePathStyle="false")
    made = json.loads((await run("create", b"x", key="d/k")).data)
    host = f"{bucket}.s3.us-east-1.amazonaws.com"
    assert made["location"] == f"http://{host}:{port}/d/k"
    assert asked
    assert set(asked) == {host}
    monkeypatch.undo()
    assert (await ask("GET", f"http://{address}/{bucket}/d/k"))[0] == b"x"
