"""The request of ``CallActor``, built by hand as those of service invocation are."""

from __future__ import annotations

from collections.abc import Sequence

from dapr_common.http.messages import Header
from dapr_sidecar.messaging import wire

_VERSION = b"\x08\x01"
_PUT = wire.VERBS["PUT"]


def request(
    actor_type: str,
    actor_id: str,
    method: str,
    pairs: Sequence[Header],
    content_type: str,
    query: str,
    body: bytes,
) -> bytes:
    """An encoded ``InternalInvokeRequest``; ``pairs`` have lower-case names."""
    field = wire.field
    extension = bytes((8, _PUT))
    if query:
        extension += field(2, query.encode("utf-8", "replace"))
    message = field(1, method.encode("utf-8", "replace")) + field(2, field(2, body))
    if content_type:
        message += field(3, content_type.encode("utf-8", "replace"))
    message += field(4, extension)
    actor = field(1, actor_type.encode()) + field(2, actor_id.encode("utf-8", "replace"))
    entries = wire.metadata_entries(pairs, spelled=True)
    return b"".join((_VERSION, entries, field(3, message), field(4, actor)))
