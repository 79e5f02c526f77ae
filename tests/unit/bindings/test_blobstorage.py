"""Blobs of Azure Blob Storage, on Azurite: it checks signatures of requests and of shared URLs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from harness.backends import Backends
from harness.block_api import make
from harness.stand_in_entra import stand_in_entra

from dapr_common.http.messages import Request, Response
from dapr_common.http.server import HttpServer
from dapr_sidecar.components.azure.blobs import BlobError
from dapr_sidecar.components.bindings.base import InvokeRequest, InvokeResponse
from dapr_sidecar.components.bindings.blobstorage import BlobStorageBinding
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.web import WebError

Run = Callable[..., Awaitable[InvokeResponse]]
ACCOUNT = "devstoreaccount1"
# Of the emulator's documentation: every Azurite has it.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
ODD = ["a b/ü+%?#&=;'()*.txt", "two//lines", "~.-_", "日本"]


@pytest.fixture
def address(backends: Backends) -> str:
    return backends.shared("azurite").address


async def fetch(url: str) -> bytes:
    """Without logging in."""

    def send() -> bytes:
        with urllib.request.urlopen(url, timeout=20) as answer:
            found: bytes = answer.read()
            return found

    return await asyncio.to_thread(send)


@pytest.fixture
def container() -> str:
    return f"c-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def binding(
    address: str, container: str, tmp_path: Path
) -> AsyncIterator[Callable[..., Any]]:
    made: list[BlobStorageBinding] = []

    async def build(**more: str) -> Run:
        given = {
            "endpoint": f"http://{address}",
            "accountName": ACCOUNT,
            "accountKey": KEY,
            "containerName": container,
            "filesRoot": str(tmp_path),
            **more,
        }
        found: BlobStorageBinding = make(BlobStorageBinding, **given)
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


async def test_create_says_where_it_is(run: Run, address: str, container: str) -> None:
    made = json.loads((await run("create", "Hello World", blobName="d/my file.txt")).data)
    assert made == {"blobURL": f"http://{address}/{ACCOUNT}/{container}/d/my%20file.txt"}
    assert (await run("get", blobName="d/my file.txt")).data == b"Hello World"


async def test_a_name_is_made_up(run: Run) -> None:
    made = json.loads((await run("create", b"x")).data)
    name = made["blobURL"].rpartition("/")[2]
    assert uuid.UUID(name).version == 4
    assert (await run("get", blobName=name)).data == b"x"


@pytest.mark.parametrize("name", ODD)
async def test_odd_names(run: Run, name: str) -> None:
    await run("create", name.encode(), blobName=name)
    assert (await run("get", blobName=name)).data == name.encode()
    listed = json.loads((await run("list")).data)
    assert [one["Name"] for one in listed] == [name]
    shared = json.loads((await run("presign", blobName=name, signTTL="15m")).data)["presignURL"]
    assert await fetch(shared) == name.encode()
    assert (await run("delete", blobName=name)).data == b"nothing"
    for operation in ("get", "delete"):
        with pytest.raises(FileNotFoundError, match="blob not found"):
            await run(operation, blobName=name)


async def test_what_is_said_about_a_blob(run: Run) -> None:
    digest = base64.b64encode(hashlib.md5(b"content").digest()).decode()
    await run(
        "create",
        b"content",
        blobName="k",
        contentType="text/plain",
        contentMD5=digest,
        contentEncoding="UTF-8",
        contentLanguage="en-us",
        contentDisposition="attachment",
        cacheControl="no-cache",
        custom="hello-world",
        traceparent="00-x",
    )
    answer = await run("get", blobName="k", includeMetadata="true")
    assert answer == InvokeResponse(b"content", {"custom": "hello-world"})
    assert (await run("get", blobName="k")).metadata == {}
    listed = json.loads((await run("list", {"include": {"metadata": True}})).data)[0]
    assert listed["Metadata"] == {"custom": "hello-world"}
    properties = listed["Properties"]
    assert properties["ContentType"] == "text/plain"
    assert properties["ContentMD5"] == digest
    assert properties["ContentEncoding"] == "UTF-8"
    assert properties["ContentLanguage"] == "en-us"
    assert properties["ContentDisposition"] == "attachment"
    assert properties["CacheControl"] == "no-cache"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("contentMD5", "short", "'contentMD5': expected an MD5"),
        ("contentType", "a\r\nx: y", "'contentType'"),
        ("my-name", "x", "invalid metadata name 'my-name'"),
        ("custom", "ü", "'custom': expected printable ASCII"),
        ("signTTL", "soon", "'signTTL'"),
    ],
)
async def test_what_cannot_be_said_about_a_blob(
    run: Run, name: str, value: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        await run("create", b"x", **{"blobName": "k", name: value})
    with pytest.raises(FileNotFoundError):
        await run("get", blobName="k")


async def test_base64(binding: Callable[..., Awaitable[Run]]) -> None:
    run = await binding(decodeBase64="true")
    content = bytes(range(256))
    await run("create", base64.b64encode(content).decode(), blobName="k")
    assert (await run("get", blobName="k")).data == content
    with pytest.raises(ValueError, match="no base64"):
        await run("create", b"not base64!", blobName="k")


async def test_shared_urls(run: Run, binding: Callable[..., Awaitable[Run]]) -> None:
    made = json.loads((await run("create", b"shared", blobName="k", signTTL="15m")).data)
    assert made["presignURL"].startswith(made["blobURL"] + "?")
    assert await fetch(made["presignURL"]) == b"shared"
    with pytest.raises(urllib.error.HTTPError):
        await fetch(made["blobURL"])
    with pytest.raises(urllib.error.HTTPError):
        await fetch(made["presignURL"].replace("sp=r", "sp=rw"))
    for metadata in ({"blobName": "k"}, {"signTTL": "1m"}):
        with pytest.raises(ValueError, match="required metadata not set"):
            await run("presign", **metadata)


async def test_lists_and_pages(run: Run) -> None:
    names = [f"file-{number}" for number in range(5)]
    for name in [*names, "other"]:
        await run("create", b"12345", blobName=name)
    found: list[str] = []
    marker = ""
    while True:
        request = {"maxResults": 2, "prefix": "file", "marker": marker}
        answer = await run("list", request)
        page = json.loads(answer.data)
        assert answer.metadata["number"] == str(len(page))
        found += [one["Name"] for one in page]
        if not (marker := answer.metadata["marker"]):
            break
    assert found == names


async def test_a_blob_in_a_list(run: Run) -> None:
    await run("create", b"12345", blobName="k")
    (found,) = json.loads((await run("list", b"null")).data)
    properties = found.pop("Properties")
    assert found == {
        "XMLName": {"Space": "", "Local": "Blob"},
        "Name": "k",
        "Deleted": False,
        "Snapshot": "",
        "Metadata": None,
    }
    assert properties["XMLName"] == {"Space": "", "Local": "Properties"}
    assert properties["ContentLength"] == 5
    assert properties["BlobType"] == "BlockBlob"
    assert properties["LastModified"].endswith("Z")
    assert properties["ServerEncrypted"] is True
    assert properties["CopyID"] is None
    empty = await run("list", {"prefix": "none"})
    assert empty == InvokeResponse(b"[]", {"marker": "", "number": "0"})


async def test_snapshots(
    run: Run, address: str, container: str, binding: Callable[..., Awaitable[Run]]
) -> None:
    await run("create", b"x", blobName="k")
    other: BlobStorageBinding = make(
        BlobStorageBinding,
        endpoint=f"http://{address}",
        accountName=ACCOUNT,
        accountKey=KEY,
        containerName=container,
    )
    target = f"/{ACCOUNT}/{container}/k?comp=snapshot"
    await other._container._call("PUT", target, {})
    await other.close()
    listed = json.loads((await run("list", {"include": {"snapshots": True}})).data)
    assert [bool(one["Snapshot"]) for one in listed] == [True, False]
    with pytest.raises(ValueError, match="expected one of include, only"):
        await run("delete", blobName="k", deleteSnapshots="all")
    with pytest.raises(BlobError, match="SnapshotsPresent"):
        await run("delete", blobName="k")
    await run("delete", blobName="k", deleteSnapshots="only")
    assert (await run("get", blobName="k")).data == b"x"
    await run("delete", blobName="k", deleteSnapshots="include")
    with pytest.raises(FileNotFoundError):
        await run("get", blobName="k")


# --- many ---------------------------------------------------------------------------------------


async def test_many_are_created_read_and_deleted(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"\xfffrom a file")
    items = [
        {"blobName": "l/a", "data": "text", "contentType": "text/plain"},
        {"blobName": "l/b", "sourcePath": "in"},
        {"blobName": "c"},
        {"blobName": "d", "sourcePath": "/etc/hostname"},
    ]
    made = json.loads((await run("bulkCreate", {"items": items})).data)
    assert [one["blobName"] for one in made] == ["l/a", "l/b", "c", "d"]
    assert made[0]["blobURL"].endswith("/l/a")
    assert "neither 'data' nor 'sourcePath'" in made[2]["error"]
    assert "'filesRoot'" in made[3]["error"]
    wanted = [{"blobName": "l/a"}, {"blobName": "none"}, {"blobName": "l/b", "filePath": "out"}]
    found = json.loads((await run("bulkGet", {"items": wanted, "concurrency": 2})).data)
    assert found == [
        {"blobName": "l/a", "data": base64.b64encode(b"text").decode()},
        {"blobName": "none", "error": "BlobNotFound"},
        {"blobName": "l/b", "filePath": "out"},
    ]
    assert (tmp_path / "out").read_bytes() == b"\xfffrom a file"
    request = {"prefix": "l/", "destinationDir": "all"}
    found = json.loads((await run("bulkGet", request)).data)
    assert [one["filePath"] for one in found] == [str(tmp_path / f"all/l/{n}") for n in "ab"]
    assert (tmp_path / "all/l/a").read_bytes() == b"text"
    gone = json.loads((await run("bulkDelete", {"blobNames": ["none"], "prefix": "l/"})).data)
    assert gone == [
        {"blobName": "none", "error": "BlobNotFound"},
        {"blobName": "l/a"},
        {"blobName": "l/b"},
    ]
    assert json.loads((await run("list")).data) == []


async def test_names_cannot_lead_out_of_the_directory(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    await run("create", b"x", blobName="p/../../../evil")
    request = {"prefix": "p/", "destinationDir": "in"}
    (found,) = json.loads((await run("bulkGet", request)).data)
    assert "not inside the destinationDir" in found["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("operation", "data", "message"),
    [
        ("bulkGet", {}, "'data.items' or 'data.prefix'"),
        ("bulkGet", {"prefix": "p"}, "'data.destinationDir'"),
        ("bulkCreate", {}, "'data.items'"),
        ("bulkDelete", {}, "'data.blobNames' or 'data.prefix'"),
        ("bulkDelete", {"prefix": "p", "deleteSnapshots": "x"}, "'deleteSnapshots'"),
    ],
)
async def test_what_many_need(run: Run, operation: str, data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        await run(operation, data)


# --- files --------------------------------------------------------------------------------------


async def test_large_files(run: Run, tmp_path: Path) -> None:
    content = os.urandom(9 << 20)
    (tmp_path / "in").write_bytes(content)
    items = [{"blobName": "k", "sourcePath": str(tmp_path / "in")}]
    await run("bulkCreate", {"items": items})
    answer = await run("get", blobName="k", filePath="out")
    assert answer == InvokeResponse(b"", {"filePath": "out"})
    assert (tmp_path / "out").read_bytes() == content
    with pytest.raises(PermissionError, match="'filesRoot'"):
        await run("get", blobName="k", filePath="../out")
    with pytest.raises(FileNotFoundError, match="blob not found"):
        await run("get", blobName="none", filePath="not-made")
    assert not (tmp_path / "not-made").exists()


class Breaking:
    """A stand-in that breaks off the first reads in the middle of a blob."""

    def __init__(self, breaks: int) -> None:
        self.breaks = breaks
        self.reads = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.reads += 1
        content = b"half" if self.reads <= self.breaks else b"half and half"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" + content)
        await writer.drain()
        writer.close()


@pytest.mark.parametrize("file", ["", "out"])
async def test_a_read_that_breaks_off_is_begun_again(
    binding: Callable[..., Awaitable[Run]], tmp_path: Path, file: str
) -> None:
    there = Breaking(2)
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0)
    more = {
        "endpoint": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        "disableEntityManagement": "true",
        "getBlobRetryCount": "3",
    }
    run = await binding(**more)
    where = {"blobName": "k", **({"filePath": file} if file else {})}
    answer = await run("get", **where)
    assert there.reads == 3
    assert ((tmp_path / "out").read_bytes() if file else answer.data) == b"half and half"
    there.reads, there.breaks = 0, 3
    with pytest.raises(WebError):
        await run("get", **where)
    assert there.reads == 3
    assert [path.name for path in tmp_path.iterdir()] == ([file] if file else [])
    server.close()
    await server.wait_closed()


# --- the container and who we are ---------------------------------------------------------------


async def test_who_may_read_a_container(
    binding: Callable[..., Awaitable[Run]], container: str
) -> None:
    run = await binding(publicAccessLevel="blob")
    made = json.loads((await run("create", b"open", blobName="k")).data)
    assert await fetch(made["blobURL"]) == b"open"
    again = await binding(publicAccessLevel="none")  # it is there already
    assert (await again("get", blobName="k")).data == b"open"


async def test_a_container_that_shall_not_be_made(binding: Callable[..., Awaitable[Run]]) -> None:
    run = await binding(disableEntityManagement="true")
    with pytest.raises(BlobError, match="ContainerNotFound"):
        await run("create", b"x", blobName="k")


async def test_a_large_file_that_is_refused(
    binding: Callable[..., Awaitable[Run]], tmp_path: Path
) -> None:
    run = await binding(disableEntityManagement="true")
    (tmp_path / "in").write_bytes(bytes(9 << 20))
    request = {"items": [{"blobName": "k", "sourcePath": "in"}]}
    found = json.loads((await run("bulkCreate", request)).data)
    assert found == [{"blobName": "k", "error": "ContainerNotFound"}]


async def test_a_key_that_is_another_accounts(
    binding: Callable[..., Awaitable[Run]], address: str
) -> None:
    wrong = base64.b64encode(b"wrong").decode()
    with pytest.raises(SettingsError, match=r"'accountKey': Azure Blob Storage at .*Auth"):
        await binding(accountKey=wrong)
    text = f"AccountName={ACCOUNT};AccountKey={wrong};BlobEndpoint=http://{address}/{ACCOUNT}"
    with pytest.raises(SettingsError, match=r"'connectionString': .*Auth") as caught:
        await binding(connectionString=text, endpoint="", accountName="", accountKey="")
    assert wrong not in str(caught.value)


async def test_a_connection_string(binding: Callable[..., Awaitable[Run]], address: str) -> None:
    text = (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
        f"BlobEndpoint=http://{address}/{ACCOUNT};"
    )
    run = await binding(connectionString=text, endpoint="", accountName="", accountKey="")
    await run("create", b"x", blobName="k")
    assert (await run("get", blobName="k")).data == b"x"


async def test_a_token_of_a_stand_in_for_entra(
    binding: Callable[..., Awaitable[Run]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The emulator takes tokens with TLS only: what is sent is looked at here."""
    seen: list[Request] = []
    statuses: list[int] = []

    async def handle(request: Request) -> Response:
        seen.append(request)
        return Response(statuses.pop(0) if statuses else 201, [], b"")

    server = HttpServer(handle, max_body_bytes=1 << 20, max_header_bytes=8192)
    port = await server.listen_tcp("127.0.0.1", 0)
    with stand_in_entra("the-token") as entra:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", entra.url)
        who = {"azureTenantId": "tenant", "azureClientId": "client", "azureClientSecret": "secret"}
        place = {"endpoint": f"http://127.0.0.1:{port}", "accountKey": ""}
        run = await binding(**place, **who)
        await run("create", b"x", blobName="k")
        with pytest.raises(ValueError, match="'accountKey'"):
            await run("presign", blobName="k", signTTL="1m")
        statuses.append(403)  # it may write blobs, and make no containers
        with pytest.raises(SettingsError, match="'disableEntityManagement'"):
            await binding(**place, **who)
    assert "https%3A%2F%2Fstorage.azure.com%2F.default" in entra.asked[0]
    sent = [dict(request.headers) for request in seen]
    assert [one[b"authorization"] for one in sent] == [b"Bearer the-token"] * 3
    await server.close(0)
