"""Headers that actor calls and answers carry beside those of their callers; names in lower case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dapr_common.http.messages import Header
from dapr_common.words import is_truthy

CALLER_APP_ID, CALLER_NAMESPACE = b"dapr-caller-app-id", b"dapr-caller-namespace"
REENTRANCY_ID = b"dapr-reentrancy-id"
REMOTE = b"x-dapr-remote"
APP_ERROR = b"x-daprerrorresponseheader"
REMINDER_CANCEL = b"x-daprremindercancel"
TIMER_CALLBACK = "dapr-timer-callback-bin"
"""Metadata between sidecars: the message of a timer that is due has no member for its callback."""
_API_CALL: Header = (b"dapr-api-call", b"true")
_SAID_BY_SIDECARS = frozenset(
    {CALLER_APP_ID, CALLER_NAMESPACE, b"dapr-callee-app-id", REMOTE, b"dapr-api-call"}
)


def from_client(pairs: Iterable[Header], app_id: str, namespace: str) -> list[Header]:
    """A client's headers with who it is; what it claims about that is left out."""
    kept = [pair for pair in pairs if pair[0] not in _SAID_BY_SIDECARS]
    kept += [
        _API_CALL,
        (CALLER_APP_ID, app_id.encode()),
        (CALLER_NAMESPACE, namespace.encode()),
    ]
    return kept


def with_caller(pairs: Iterable[Header], app_id: str, namespace: str) -> list[Header]:
    """Headers of a call from another sidecar, with who that certainly is."""
    kept = [pair for pair in pairs if pair[0] not in (CALLER_APP_ID, CALLER_NAMESPACE)]
    kept += [(CALLER_APP_ID, app_id.encode()), (CALLER_NAMESPACE, namespace.encode())]
    return kept


def first(pairs: Sequence[Header], name: bytes) -> str | None:
    """The first value of a name."""
    for known, value in pairs:
        if known == name:
            return value.decode("utf-8", "replace")
    return None


def says_yes(pairs: Sequence[Header], name: bytes) -> bool:
    """Whether a header is there with a word that means yes."""
    value = first(pairs, name)
    return value is not None and is_truthy(value)
