"""Which names actors, reminders and timers may have."""

from __future__ import annotations

import re

from dapr_common.go_quoting import go_quoted
from dapr_sidecar.blocks.actors import errors
from dapr_sidecar.blocks.actors.base import ActorRef

RESERVED_PREFIX = "dapr.internal."
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_FORBIDDEN = re.compile(r"[#?/\\\x00-\x1f\x7f-\x9f]")


def check_name(what: str, name: str) -> None:
    """Refuse a name that would not survive in paths and keys. Raises ``DaprError``.

    ``what`` says which one it is, in Dapr's words: ``actorType``, ``actorId``, ``name``.
    """
    if (problem := name_problem(name)) is not None:
        raise errors.bad_request(f"invalid {what}: {problem}")


def name_problem(name: str) -> str | None:
    """What is wrong with a name, if anything."""
    if name in (".", ".."):
        return f"name is a relative path component: {go_quoted(name)}"
    if _FORBIDDEN.search(name) is not None:
        return f"name contains forbidden character: {go_quoted(name)}"
    return None


def check_not_empty(ref: ActorRef, name: str) -> None:
    """Refuse what is to be kept under a name that nothing can be found by. Raises ``DaprError``."""
    for what, text in (("actorId", ref.id), ("name", name)):
        if not text:
            raise errors.bad_request(f"invalid {what}: name is empty")


def check_actor(ref: ActorRef) -> None:
    """Refuse an actor whose type or id has forbidden characters. Raises ``DaprError``."""
    check_name("actorType", ref.type)
    check_name("actorId", ref.id)


def call_problem(ref: ActorRef, method: str) -> str | None:
    """What is wrong with a call's names, if anything, in Dapr's words.

    A method may have slashes, but none that lead out of the actor's own paths.
    """
    for what, name in (("actorType", ref.type), ("actorId", ref.id)):
        if (problem := name_problem(name)) is not None:
            return f"invalid {what}: {problem}"
    for segment in method.split("/"):
        if segment in (".", "..") or _UNSEEN.search(segment) is not None:
            return f"invalid actor method: {name_problem(segment)}"
    return None


def is_foreign(actor_type: str, namespace: str, app_id: str) -> bool:
    """Whether a type is one of the runtime's own that belongs to another app.

    Placement ends the stream of a sidecar that reports such a type.
    """
    if not actor_type.startswith(RESERVED_PREFIX):
        return False
    parts = actor_type.split(".")
    return len(parts) < 4 or parts[2:4] != [namespace, app_id]


def check_not_reserved(actor_type: str) -> None:
    """Keep API callers away from the runtime's own types. Raises ``DaprError``."""
    if actor_type.startswith(RESERVED_PREFIX):
        raise errors.type_reserved(actor_type)
