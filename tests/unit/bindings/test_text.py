from __future__ import annotations

import pytest

from dapr_sidecar.components.bindings.text import text_of


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"),
        (b'"of HTTP"', "of HTTP"),
        (b'"\\u003cb\\u003e \\"\\n\xc3\xa4"', '<b> "\nä'),
        (b'"half', '"half'),
        (b'"two" "words"', '"two" "words"'),
        (b"12", "12"),
        (b'{"a":1}', '{"a":1}'),
        (b"null", ""),
        (b'"null"', "null"),
        (b"", ""),
    ],
)
def test_text(data: bytes, text: str) -> None:
    assert text_of(data) == text


def test_what_is_no_text() -> None:
    with pytest.raises(ValueError, match="invalid data: expected text in UTF-8"):
        text_of(b"\xff")
