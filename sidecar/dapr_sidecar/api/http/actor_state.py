"""HTTP routes of actor state, reminders and timers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from dapr_common.http.messages import BodyIncompleteError, BodyTooLargeError, Request, Response
from dapr_sidecar.api.http.responses import JSON_TYPE, empty, go_json, metadata_headers
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.actors import state_errors
from dapr_sidecar.blocks.actors.base import ActorRef
from dapr_sidecar.blocks.actors.reminder import (
    ReminderRequest,
    ReminderView,
    policy_of,
    raw_json,
)
from dapr_sidecar.blocks.actors.reminders import Reminders
from dapr_sidecar.blocks.actors.state import ActorState, Delete, Operation, Upsert
from dapr_sidecar.blocks.actors.timers import TimerRequest, Timers
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import Json

_WRITE = ("POST", "PUT")
_GROUP = "v1/actors"
_FRACTION = re.compile(rb"[0-9][.eE]")


class ActorStateRoutes:
    """Parse, call the block, write."""

    def __init__(self, state: ActorState, timers: Timers, reminders: Reminders) -> None:
        self._state = state
        self._timers = timers
        self._reminders = reminders

    def all(self) -> list[Route]:
        """The table."""
        actor = "/v1.0/actors/{type}/{id}"
        reminder, timer = f"{actor}/reminders/{{name}}", f"{actor}/timers/{{name}}"
        rows = (
            (_WRITE, f"{actor}/state", "ExecuteActorStateTransaction", self.transact),
            (("GET",), f"{actor}/state/{{key}}", "GetActorState", self.get_state),
            (_WRITE, reminder, "RegisterActorReminder", self.create_reminder),
            (("GET",), reminder, "GetActorReminder", self.get_reminder),
            (("DELETE",), reminder, "UnregisterActorReminder", self.delete_reminder),
            (_WRITE, timer, "RegisterActorTimer", self.create_timer),
            (("DELETE",), timer, "UnregisterActorTimer", self.delete_timer),
        )
        return [Route(verbs, path, _GROUP, name, handler) for verbs, path, name, handler in rows]

    async def transact(self, request: Request, actor_type: str, actor_id: str) -> Response:
        entries = await _json_body(request)
        if entries is None:
            entries = []
        if not isinstance(entries, list):
            raise state_errors.malformed("expected an array of operations")
        operations = [_operation_members(entry) for entry in entries]
        ref = ActorRef(actor_type, actor_id)
        await self._state.transact(ref, lambda: [_operation(one) for one in operations])
        return empty()

    async def get_state(
        self, request: Request, actor_type: str, actor_id: str, key: str
    ) -> Response:
        found = await self._state.get(ActorRef(actor_type, actor_id), key)
        if not found.data:
            return empty()
        return Response(200, [JSON_TYPE, *metadata_headers(found.metadata)], found.data)

    async def create_reminder(
        self, request: Request, actor_type: str, actor_id: str, name: str
    ) -> Response:
        body = await _object(request)
        overwrite = body.get("overwrite")
        if overwrite is not None and not isinstance(overwrite, bool):
            raise state_errors.malformed("overwrite must be true or false")
        try:
            policy = policy_of(body.get("failure_policy", body.get("failurepolicy")))
        except ValueError as error:
            raise state_errors.malformed(error) from error
        await self._reminders.create(
            ReminderRequest(
                ActorRef(actor_type, actor_id),
                name,
                _text(body, "dueTime"),
                _text(body, "period"),
                _text(body, "ttl"),
                _data(body),
                overwrite is not False,
                policy,
            )
        )
        return empty()

    async def get_reminder(
        self, request: Request, actor_type: str, actor_id: str, name: str
    ) -> Response:
        found = await self._reminders.get(ActorRef(actor_type, actor_id), name)
        return Response(200, [JSON_TYPE], _shown(found))

    async def delete_reminder(
        self, request: Request, actor_type: str, actor_id: str, name: str
    ) -> Response:
        await self._reminders.delete(ActorRef(actor_type, actor_id), name)
        return empty()

    async def create_timer(
        self, request: Request, actor_type: str, actor_id: str, name: str
    ) -> Response:
        body = await _object(request)
        timer = TimerRequest(
            name,
            _text(body, "dueTime"),
            _text(body, "period"),
            _text(body, "ttl"),
            _text(body, "callback"),
            _data(body),
        )
        self._timers.create(ActorRef(actor_type, actor_id), timer)
        return empty()

    async def delete_timer(
        self, request: Request, actor_type: str, actor_id: str, name: str
    ) -> Response:
        self._timers.delete(ActorRef(actor_type, actor_id), name)
        return empty()


def routes(state: ActorState, timers: Timers, reminders: Reminders) -> list[Route]:
    """The routes of actor state, reminders and timers."""
    return ActorStateRoutes(state, timers, reminders).all()


async def _json_body(request: Request) -> object:
    return _parsed(await _body(request))


async def _body(request: Request) -> bytes:
    try:
        return await request.read()
    except (BodyTooLargeError, BodyIncompleteError) as error:
        raise state_errors.malformed(error) from error


def _parsed(body: bytes) -> object:
    try:
        return encoding.loads(body)
    except ValueError as error:
        raise state_errors.malformed(error) from error


async def _object(request: Request) -> Mapping[str, Any]:
    """A JSON object with lower-case names, as Go's decoder matches them.

    Numbers in ``data`` are as the client wrote them.
    """
    text = await _body(request)
    body = _parsed(text)
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise state_errors.malformed("expected an object")
    members = {name.lower(): value for name, value in body.items()}
    if isinstance(members.get("data"), (float, list, dict)) and _FRACTION.search(text) is not None:
        written = json.loads(text, parse_float=_as_written)
        members["data"] = {name.lower(): value for name, value in written.items()}["data"]
    return members


def _as_written(number: str) -> orjson.Fragment:
    return orjson.Fragment(number)


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name.lower())
    if value is None:
        return ""
    if not isinstance(value, str):
        raise state_errors.malformed(f"{name} must be a string")
    return value


def _data(body: Mapping[str, Any]) -> bytes | None:
    """The raw JSON; a null that was given is data, and the app gets it (SDKs count on it)."""
    return raw_json(body["data"]) if "data" in body else None


def _operation_members(entry: object) -> Mapping[str, Any]:
    """What is no operation at all makes the whole body malformed, as for Go's decoder."""
    if entry is None:
        return {}
    if not isinstance(entry, dict):
        raise state_errors.malformed("an operation must be an object")
    members = {name.lower(): value for name, value in entry.items()}
    if not isinstance(members.get("operation") or "", str):
        raise state_errors.malformed("operation must be a string")
    return members


def _operation(body: Mapping[str, Any]) -> Operation:
    """One operation of a transaction. Raises ``ValueError`` with Dapr's text."""
    kind, inner = body.get("operation"), body.get("request")
    if not kind:
        raise ValueError("operation is empty")
    if kind not in ("upsert", "delete"):
        raise ValueError(f"operation type {kind} not supported")
    if not inner:
        raise ValueError("request data is empty")
    request = _members(inner, "request")
    key, etag = request.get("key"), request.get("etag")
    if not isinstance(key, str) or not key:
        raise ValueError("missing key")
    if etag is not None and not isinstance(etag, str):
        raise ValueError("etag must be a string")
    if kind == "delete":
        return Delete(key, etag or None)
    metadata = _members(request.get("metadata") or {}, "metadata", fold=False)
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("the values of metadata must be strings")
    return Upsert(key, Json(request.get("value")), etag or None, metadata)


def _members(value: object, what: str, *, fold: bool = True) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be an object")
    return {name.lower(): inner for name, inner in value.items()} if fold else value


def _shown(reminder: ReminderView) -> bytes:
    body = {
        "actorID": reminder.ref.id,
        "actorType": reminder.ref.type,
        "data": None if reminder.data is None else orjson.Fragment(reminder.data),
        "dueTime": reminder.due_time,
        "period": reminder.period,
        "ttl": reminder.ttl,
    }
    return go_json({name: value for name, value in body.items() if value not in (None, "")})
