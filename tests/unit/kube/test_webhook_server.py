"""What is let through to a webhook. How it is served is tested with the injector's, over TLS."""

from __future__ import annotations

import pytest

from dapr_common.http.messages import BodyIncompleteError, BodyTooLargeError, Request
from dapr_common.kube.webhook_server import RefusedError, read_review


class Broken:
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def read(self) -> bytes:
        raise self.error

    def __aiter__(self) -> Broken:
        return self


def request(content_type: str, body: bytes | None, stream: Broken | None = None) -> Request:
    headers = [(b"content-type", content_type.encode())] if content_type else []
    return Request("POST", b"/validate", b"", headers, body=body, stream=stream)  # type: ignore[arg-type]


async def test_a_review_is_json() -> None:
    assert await read_review(request("application/json", b"{}")) == b"{}"


@pytest.mark.parametrize(
    ("content_type", "body", "status", "text"),
    [
        ("application/json", b"", 400, "empty body"),
        ("text/plain", b"", 400, "empty body"),
        ("application/json; charset=utf-8", b"{}", 415, "expected `application/json`"),
        ("", b"{}", 415, "invalid Content-Type"),
    ],
)
async def test_what_is_none(content_type: str, body: bytes, status: int, text: str) -> None:
    with pytest.raises(RefusedError, match=text) as caught:
        await read_review(request(content_type, body))
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("error", "status"), [(BodyTooLargeError(), 413), (BodyIncompleteError(), 400)]
)
async def test_a_body_that_cannot_be_read(error: Exception, status: int) -> None:
    with pytest.raises(RefusedError) as caught:
        await read_review(request("application/json", None, Broken(error)))
    assert caught.value.status == status
