"""Objects of Google Cloud Storage, on a stand-in written from the service's reference."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from harness.block_api import make
from harness.stand_in_gcs import StandInGcs, stand_in_gcs

from dapr_sidecar.components.bindings.base import InvokeRequest, InvokeResponse
from dapr_sidecar.components.bindings.gcp_bucket import GcpBucketBinding
from dapr_sidecar.components.gcp.storage import StorageError
from dapr_sidecar.components.metadata import SettingsError

Run = Callable[..., Awaitable[InvokeResponse]]
ODD = ["a b/ü+%?#&=;'()*.txt", "/leading", "two//lines", "~.-_", "日本"]


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInGcs]:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with stand_in_gcs("photos", "other") as found:
        yield found


@pytest.fixture
async def binding(gcs: StandInGcs) -> AsyncIterator[Callable[..., Any]]:
    made: list[GcpBucketBinding] = []

    async def build(**more: str) -> Run:
        given = {"endpoint": gcs.url, "project_id": "p", "bucket": "photos", **more}
        found: GcpBucketBinding = make(GcpBucketBinding, **given)
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


async def test_create_says_where_it_is(run: Run, gcs: StandInGcs) -> None:
    made = json.loads((await run("create", "Hello World", key="d/my file.txt")).data)
    assert made == {"objectURL": f"{gcs.url}/photos/d/my%20file.txt"}
    assert (await run("get", key="d/my file.txt")).data == b"Hello World"


async def test_a_name_is_made_up(run: Run, gcs: StandInGcs) -> None:
    await run("create", b"x")
    (name,) = gcs.buckets["photos"]
    assert uuid.UUID(name).version == 4


@pytest.mark.parametrize("key", ODD)
async def test_odd_names(run: Run, gcs: StandInGcs, key: str) -> None:
    await run("create", key.encode(), key=key)
    assert list(gcs.buckets["photos"]) == [key]
    assert (await run("get", key=key)).data == key.encode()
    assert (await run("get", name=key)).data == key.encode()  # an older word for it
    assert (await run("delete", key=key)).data == b"nothing"
    for operation in ("get", "delete"):
        with pytest.raises(FileNotFoundError, match="object not found"):
            await run(operation, key=key)


async def test_base64(binding: Callable[..., Awaitable[Run]]) -> None:
    run = await binding(decodeBase64="true", encodeBase64="true")
    content = bytes(range(256))
    text = base64.b64encode(content)
    await run("create", text.decode(), key="k")
    assert (await run("get", key="k")).data == text
    assert (await run("get", key="k", encodeBase64="false")).data == content
    with pytest.raises(ValueError, match="no base64"):
        await run("create", b"not base64!", key="k")


async def test_content_types(binding: Callable[..., Awaitable[Run]], gcs: StandInGcs) -> None:
    run = await binding()
    await run("create", b"text", key="text")
    await run("create", b"\xff", key="bytes")
    await run("create", b"x", key="said", contentType="image/png")
    other = await binding(contentType="text/csv")
    await other("create", b"x", key="set")
    found = {key: entry[0]["contentType"] for key, entry in gcs.buckets["photos"].items()}
    assert found == {
        "text": "text/plain; charset=utf-8",
        "bytes": "application/octet-stream",
        "said": "image/png",
        "set": "text/csv",
    }
    with pytest.raises(ValueError, match="'contentType'"):
        await run("create", b"x", contentType="a\r\nb: c")


async def test_lists(run: Run) -> None:
    for key in ("a/1", "a/2", "b"):
        await run("create", b"12345", key=key)
    found = json.loads((await run("list", b"null")).data)
    assert [one["Name"] for one in found] == ["a/1", "a/2", "b"]
    one = found[0]
    assert (one["Bucket"], one["Size"], one["Generation"], one["CRC32C"]) == ("photos", 5, 1, 1)
    assert (one["Created"], one["Deleted"]) == ("2026-01-02T03:04:05.678Z", "0001-01-01T00:00:00Z")
    assert (one["Metadata"], one["Prefix"]) == (None, "")
    found = json.loads((await run("list", {"delimiter": "/"})).data)
    assert [(one["Name"], one["Prefix"]) for one in found] == [("b", ""), ("", "a/")]
    assert (await run("list", {"prefix": "none"})).data == b"null"


async def test_pages_are_put_together(run: Run, gcs: StandInGcs) -> None:
    gcs.page = 3
    for number in range(8):
        await run("create", b"", key=f"k{number}")
    assert len(json.loads((await run("list")).data)) == 8
    assert len(json.loads((await run("list", {"maxResults": 5})).data)) == 5
    assert len(json.loads((await run("bulkGet")).data)) == 8


async def test_all_are_read(run: Run, binding: Callable[..., Awaitable[Run]]) -> None:
    await run("create", b"content of a", key="a")
    await run("create", b"b", key="b")
    first, second = json.loads((await run("bulkGet")).data)
    attrs = first.pop("attrs")
    assert first == {"name": "a", "data": "content of a"}
    assert (attrs["bucket"], attrs["name"], attrs["size"]) == ("photos", "a", 12)
    assert second["data"] == "b"
    await run("create", b"\xff", key="b")
    with pytest.raises(ValueError, match="'b' is no UTF-8 text: set encodeBase64"):
        await run("bulkGet")
    _, second = json.loads((await run("bulkGet", encodeBase64="true")).data)
    assert second["data"] == base64.b64encode(b"\xff").decode()


# --- from here to there -------------------------------------------------------------------------


async def test_copy(run: Run, gcs: StandInGcs) -> None:
    await run("create", b"x", key="d/k", contentType="image/png")
    answer = await run("copy", {"destinationBucket": "other"}, key="d/k")
    assert json.loads(answer.data) == {"objectURL": f"{gcs.url}/other/d/k"}
    assert gcs.buckets["other"]["d/k"][1] == b"x"
    assert gcs.buckets["other"]["d/k"][0]["contentType"] == "image/png"
    assert "d/k" in gcs.buckets["photos"]


@pytest.mark.parametrize("in_metadata", [False, True])
async def test_move(run: Run, gcs: StandInGcs, in_metadata: bool) -> None:
    await run("create", b"x", key="k")
    where = {"destinationBucket": "other"}
    await run("move", b"" if in_metadata else where, key="k", **(where if in_metadata else {}))
    assert gcs.buckets["other"]["k"][1] == b"x"
    assert "k" not in gcs.buckets["photos"]


async def test_rename(run: Run, gcs: StandInGcs) -> None:
    await run("create", b"x", key="k")
    await run("rename", {"newName": "d/new ü"}, key="k")
    assert {key: entry[1] for key, entry in gcs.buckets["photos"].items()} == {"d/new ü": b"x"}


async def test_nothing_is_moved_onto_itself(run: Run, gcs: StandInGcs) -> None:
    await run("create", b"x", key="k")
    with pytest.raises(ValueError, match="already"):
        await run("move", {"destinationBucket": "photos"}, key="k")
    with pytest.raises(ValueError, match="already"):
        await run("rename", {"newName": "k"}, key="k")
    assert gcs.buckets["photos"]["k"][1] == b"x"


async def test_what_is_written_during_a_move_stays(
    run: Run, gcs: StandInGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run("create", b"old", key="k")
    rewrite = gcs.rewrite

    def and_write(source: Any, place: Any, words: Any) -> Any:
        answer = rewrite(source, place, words)
        if answer["done"]:
            gcs.store("photos", "k", b"new", "")
        return answer

    monkeypatch.setattr(gcs, "rewrite", and_write)
    with pytest.raises(StorageError, match="pre-conditions"):
        await run("rename", {"newName": "l"}, key="k")
    assert gcs.buckets["photos"]["k"][1] == b"new"


@pytest.mark.parametrize(
    ("operation", "field"),
    [("copy", "destinationBucket"), ("move", "destinationBucket"), ("rename", "newName")],
)
async def test_the_place_must_be_named(run: Run, operation: str, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        await run(operation, key="k")
    with pytest.raises(ValueError, match="key"):
        await run(operation, {field: "x"})


# --- shared URLs --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def account() -> tuple[rsa.RSAPublicKey, dict[str, str]]:
    """A service account's public key, and the metadata of its private one."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    return key.public_key(), {"private_key": pem, "client_email": "me@p.iam.gserviceaccount.com"}


async def fetch(url: str) -> bytes:
    def send() -> bytes:
        with urllib.request.urlopen(url, timeout=20) as answer:
            found: bytes = answer.read()
            return found

    return await asyncio.to_thread(send)


async def test_signed_urls(
    binding: Callable[..., Awaitable[Run]],
    gcs: StandInGcs,
    account: tuple[rsa.RSAPublicKey, dict[str, str]],
) -> None:
    gcs.key, words = account
    run = await binding(**words, signTTL="1h")
    await run("create", b"shared", key="d/k ü")
    found = json.loads((await run("sign", key="d/k ü", signTTL="15m")).data)
    assert list(found) == ["signURL"]
    assert "X-Goog-Expires=900" in found["signURL"]
    assert await fetch(found["signURL"]) == b"shared"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        await fetch(found["signURL"].replace("X-Goog-Expires=900", "X-Goog-Expires=901"))
    assert "X-Goog-Expires=3600" in json.loads((await run("sign", key="k")).data)["signURL"]


async def test_urls_without_a_key(run: Run) -> None:
    with pytest.raises(ValueError, match="'private_key' and 'client_email'"):
        await run("sign", key="k", signTTL="1m")
    with pytest.raises(ValueError, match="required metadata not set: signTTL"):
        await run("sign", key="k")


# --- where it is --------------------------------------------------------------------------------


async def test_a_bucket_that_is_not_there(binding: Callable[..., Awaitable[Run]]) -> None:
    with pytest.raises(SettingsError, match=r"'bucket'.*does not exist"):
        await binding(bucket="none")


async def test_a_service_that_cannot_be_reached(binding: Callable[..., Awaitable[Run]]) -> None:
    run = await binding(endpoint="http://127.0.0.1:1")  # it may come back: the sidecar starts
    with pytest.raises(Exception, match="cannot be reached"):
        await run("get", key="k")


async def test_a_busy_service_is_asked_again(run: Run, gcs: StandInGcs) -> None:
    gcs.busy = 2
    await run("create", b"x", key="k")
    gcs.busy = 100
    with pytest.raises(StorageError, match="come later"):
        await run("delete", key="k")
    gcs.busy = 0
    assert (await run("get", key="k")).data == b"x"


async def test_the_environments_emulator(
    gcs: StandInGcs, monkeypatch: pytest.MonkeyPatch, binding: Callable[..., Awaitable[Run]]
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"127.0.0.1:{gcs.port}")
    run = await binding(endpoint="")
    await run("create", b"x", key="k")
    assert gcs.buckets["photos"]["k"][1] == b"x"
