"""What apps mean as text: HTTP brings it as a JSON string, gRPC as the bytes themselves."""

from __future__ import annotations

import orjson


def text_of(data: bytes) -> str:
    """The content of a JSON string; anything else as it is. Raises ``ValueError``.

    ``null`` is what a request without data brings: no text.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("invalid data: expected text in UTF-8") from None
    if text == "null":
        return ""
    if text.startswith('"'):
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError:
            return text
        if isinstance(found, str):
            return found
    return text
