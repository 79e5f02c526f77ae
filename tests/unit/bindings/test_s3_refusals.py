"""What Amazon S3 says when it does not do something, by a stand-in that says it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from harness.block_api import make

from dapr_common.http.messages import Request, Response
from dapr_common.http.server import HttpServer
from dapr_sidecar.components.aws.s3 import S3Error
from dapr_sidecar.components.bindings.base import InvokeRequest
from dapr_sidecar.components.bindings.s3 import S3Binding
from dapr_sidecar.components.metadata import SettingsError

LIST = b"<ListBucketResult><Name>b</Name></ListBucketResult>"


class StandInS3:
    """Gives the answers that a test has put up, then empty lists."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.seen: list[str] = []
        self.port = 0

    async def handle(self, request: Request) -> Response:
        body = await request.read()
        self.seen.append(f"{request.method} {request.path.decode()} {len(body)}")
        status, content = self.answers.pop(0) if self.answers else (200, LIST)
        return Response(status, [], content)


def refusal(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>so it is</Message></Error>".encode()


@pytest.fixture
async def s3() -> AsyncIterator[StandInS3]:
    found = StandInS3()
    server = HttpServer(found.handle, max_body_bytes=1 << 20, max_header_bytes=8192)
    found.port = await server.listen_tcp("127.0.0.1", 0)
    yield found
    await server.close(0)


@pytest.fixture
async def binding(s3: StandInS3) -> AsyncIterator[S3Binding]:
    keys = {"accessKey": "k", "secretKey": "s", "region": "us-east-1"}
    found: S3Binding = make(S3Binding, bucket="b1b", endpoint=f"http://127.0.0.1:{s3.port}", **keys)
    yield found
    await found.close()


@pytest.mark.parametrize(
    ("status", "code", "field"),
    [
        (404, "NoSuchBucket", "bucket"),
        (403, "InvalidAccessKeyId", "accessKey"),
        (403, "SignatureDoesNotMatch", "secretKey"),
        (400, "AuthorizationHeaderMalformed", "region"),
        (301, "PermanentRedirect", "region"),
    ],
)
async def test_the_field_to_mend(
    binding: S3Binding, s3: StandInS3, status: int, code: str, field: str
) -> None:
    s3.answers = [(status, refusal(code))]
    with pytest.raises(SettingsError, match=f"metadata field '{field}': .*{code}: so it is"):
        await binding.open()


async def test_who_may_not_list_may_write(binding: S3Binding, s3: StandInS3) -> None:
    s3.answers = [(403, refusal("AccessDenied")), (403, refusal("AccessDenied")), (200, b"")]
    await binding.open()
    await binding.ping()
    await binding.invoke(InvokeRequest("create", b"x", {"key": "k"}))


async def test_what_could_not_be_deleted(binding: S3Binding, s3: StandInS3) -> None:
    content = (
        b'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<Error><Key>b &amp; c</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
        b"</DeleteResult>"
    )
    s3.answers = [(200, content)]
    answer = await binding.invoke(InvokeRequest("bulkDelete", b'{"keys":["a","b & c"]}'))
    assert answer is not None
    assert json.loads(answer.data) == [
        {"key": "a"},
        {"key": "b & c", "error": "AccessDenied: no"},
    ]


async def test_a_busy_service_is_asked_again(binding: S3Binding, s3: StandInS3) -> None:
    s3.answers = [(503, refusal("SlowDown")), (500, refusal("InternalError")), (200, b"")]
    await binding.invoke(InvokeRequest("create", b"x", {"key": "k"}))
    assert s3.seen == ["PUT /b1b/k 1"] * 3
    s3.answers = [(503, refusal("SlowDown"))] * 10
    with pytest.raises(S3Error, match="SlowDown"):
        await binding.invoke(InvokeRequest("get", b"", {"key": "k"}))
    assert len(s3.answers) == 6  # four tries


@pytest.mark.parametrize(
    "content",
    [b"", b"not xml", b'<!DOCTYPE x [<!ENTITY a "b">]><ListBucketResult>&a;</ListBucketResult>'],
)
async def test_an_answer_that_is_no_list(binding: S3Binding, s3: StandInS3, content: bytes) -> None:
    s3.answers = [(200, content)]
    with pytest.raises(S3Error, match="the answer is no XML"):
        await binding.invoke(InvokeRequest("list", b"{}"))
