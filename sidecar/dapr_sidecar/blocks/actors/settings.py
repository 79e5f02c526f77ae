"""How the app wants its actors hosted: ``/dapr/config`` or the stream's first message. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf import duration_pb2

from dapr_common.durations import parse_go_duration
from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.runtime.v1 import actors_pb2
from dapr_sidecar.blocks.actors.base import Reentrancy, TypeSettings
from dapr_sidecar.blocks.actors.reminder_layout import MOST_PARTITIONS

_LOG = get_logger("dapr.runtime.actors")
_MAX_STACK_DEPTH = 32
_IDLE_SECONDS = 3600.0
_LEAST_DRAIN_SECONDS = 2.0
_NO_REENTRANCY = Reentrancy()
_PARTITIONS = "remindersStoragePartitions"
_NAMES = {
    name.lower(): name
    for name in (
        "entities",
        "entitiesConfig",
        "actorIdleTimeout",
        "drainOngoingCallTimeout",
        "drainRebalancedActors",
        "reentrancy",
        "enabled",
        "maxStackDepth",
        _PARTITIONS,
    )
}


class HostingError(ValueError):
    """The app's actor configuration cannot be used; the text names the field."""


@dataclass(frozen=True, slots=True)
class _Given:
    """One block of settings; ``None`` is what was not said."""

    idle: float | None = None
    drain: float | None = None
    drain_rebalanced: bool | None = None
    reentrancy: Reentrancy = _NO_REENTRANCY
    partitions: int = 0


def read_config(
    config: Mapping[str, Any], round_limit: float, *, stored_reminders: bool = True
) -> dict[str, TypeSettings]:
    """Settings by type of ``/dapr/config``. Raises ``HostingError``.

    ``round_limit``: ``--actors-disseminate-timeout`` in seconds, which draining stays below.
    ``stored_reminders``: whether reminders are in the actor state store; a scheduler has no
    partitions, and what is said of them is ignored there.
    """
    config = _spelled(config)
    entries = config.get("entitiesConfig") or []
    if not isinstance(entries, list):
        raise HostingError("entitiesConfig: expected a list")
    own_configs = [_spelled(entry) for entry in entries if isinstance(entry, Mapping)]
    if not stored_reminders:
        for one in (config, *own_configs):
            one.pop(_PARTITIONS, None)
    entities = _types(config, "")
    common = _block(config, "", strict=True)
    own: dict[str, _Given] = {}
    for one in own_configs:
        given = _block(one, "entitiesConfig.", strict=False)
        own |= dict.fromkeys(_types(one, "entitiesConfig."), given)
    return _settled(entities, common, own, round_limit)


def _spelled(config: Mapping[str, Any]) -> dict[str, Any]:
    """With the names spelled as here: Go's decoder takes them in any case."""
    return {_NAMES.get(name.lower(), name): value for name, value in config.items()}


def _types(config: Mapping[str, Any], where: str) -> list[str]:
    entities = config.get("entities") or []
    if not isinstance(entities, list) or not all(isinstance(name, str) for name in entities):
        raise HostingError(f"{where}entities: expected a list of actor types")
    return entities


def read_initial(
    message: actors_pb2.SubscribeActorEventsRequestInitialAlpha1, round_limit: float
) -> dict[str, TypeSettings]:
    """The same of a stream's first message."""
    own: dict[str, _Given] = {}
    for entry in message.entities_config:
        own |= dict.fromkeys(entry.entities, _message_block(entry))
    return _settled(list(message.entities), _message_block(message), own, round_limit)


def _settled(
    entities: list[str], common: _Given, own: Mapping[str, _Given], round_limit: float
) -> dict[str, TypeSettings]:
    for name in own.keys() - set(entities):
        _LOG.warning("entitiesConfig has settings of '%s', which entities does not name", name)
    found: dict[str, TypeSettings] = {}
    for name in entities:
        if not name:
            _LOG.warning("entities has an empty actor type, which is left out")
            continue
        given = own.get(name, common)
        if given is not common:
            given = replace(
                given,
                drain=common.drain if given.drain is None else given.drain,
                drain_rebalanced=common.drain_rebalanced
                if given.drain_rebalanced is None
                else given.drain_rebalanced,
            )
        found[name] = _type_settings(name, given, round_limit)
    return found


def _type_settings(name: str, given: _Given, round_limit: float) -> TypeSettings:
    drain = _LEAST_DRAIN_SECONDS if given.drain is None else given.drain
    if drain >= round_limit:
        shorter = max(0.8 * round_limit, _LEAST_DRAIN_SECONDS)
        text = "drainOngoingCallTimeout of %s is %gs, not shorter than a round of placement; %gs"
        _LOG.warning(text, name, drain, shorter)
        drain = shorter
    return TypeSettings(
        idle_timeout=_IDLE_SECONDS if given.idle is None else given.idle,
        drain_timeout=drain,
        drain_rebalanced=given.drain_rebalanced is not False,
        reentrancy=given.reentrancy,
        reminder_partitions=given.partitions,
    )


def _block(config: Mapping[str, Any], where: str, *, strict: bool) -> _Given:
    rebalanced = config.get("drainRebalancedActors")
    return _Given(
        idle=_seconds(config, "actorIdleTimeout", where, strict=strict),
        drain=_seconds(config, "drainOngoingCallTimeout", where, strict=strict),
        drain_rebalanced=rebalanced if isinstance(rebalanced, bool) else None,
        reentrancy=_reentrancy(config.get("reentrancy")),
        partitions=_partitions(config, where),
    )


def _partitions(config: Mapping[str, Any], where: str) -> int:
    """Each partition is a record to be read and written: a slip of the pen must not make millions.

    Raises ``HostingError``, for one type's as well: once spread, reminders stay spread.
    """
    given = config.get(_PARTITIONS)
    if given is None:
        return 0
    if not isinstance(given, int) or isinstance(given, bool) or given > MOST_PARTITIONS:
        raise HostingError(
            f"{where}{_PARTITIONS}: expected a whole number from 0 to {MOST_PARTITIONS}"
        )
    return max(given, 0)


def _seconds(config: Mapping[str, Any], name: str, where: str, *, strict: bool) -> float | None:
    text = config.get(name)
    if text is None or text == "":
        return None
    try:
        if not isinstance(text, str):
            raise ValueError("expected a text such as 30s")
        seconds = parse_go_duration(text).total_seconds()
        if seconds >= 0:
            return seconds
        raise ValueError(f'invalid duration "{text}": it must not be negative')
    except ValueError as error:
        if strict:
            raise HostingError(f"{where}{name}: {error}") from error
        _LOG.warning("%s%s: %s; the default is used", where, name, error)
        return None


def _reentrancy(given: object) -> Reentrancy:
    if not isinstance(given, Mapping):
        return Reentrancy()
    given = _spelled(given)
    depth = given.get("maxStackDepth")
    if not isinstance(depth, int) or isinstance(depth, bool):
        depth = _MAX_STACK_DEPTH
    return Reentrancy(given.get("enabled") is True, depth)


def _message_block(message: Any) -> _Given:
    """The initial message and its entries have the same fields."""
    reentrancy = Reentrancy()
    if message.HasField("reentrancy"):
        given = message.reentrancy
        depth = given.max_stack_depth if given.HasField("max_stack_depth") else _MAX_STACK_DEPTH
        reentrancy = Reentrancy(given.enabled, depth)
    return _Given(
        idle=_duration(message, "actor_idle_timeout"),
        drain=_duration(message, "drain_ongoing_call_timeout"),
        drain_rebalanced=message.drain_rebalanced_actors
        if message.HasField("drain_rebalanced_actors")
        else None,
        reentrancy=reentrancy,
    )


def _duration(message: Any, name: str) -> float | None:
    if not message.HasField(name):
        return None
    duration: duration_pb2.Duration = getattr(message, name)
    return max(duration.seconds + duration.nanos / 1e9, 0.0)
