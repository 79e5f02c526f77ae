"""What an app says of its actors."""

from __future__ import annotations

import logging

import pytest
from google.protobuf import duration_pb2

from dapr_common.wire.dapr.proto.runtime.v1 import actors_pb2 as pb
from dapr_sidecar.blocks.actors.base import Reentrancy, TypeSettings
from dapr_sidecar.blocks.actors.settings import HostingError, read_config, read_initial

ROUND = 30.0


def test_defaults() -> None:
    assert read_config({"entities": ["T"]}, ROUND) == {
        "T": TypeSettings(3600.0, 2.0, True, Reentrancy(False, 32), 0)
    }
    assert read_config({}, ROUND) == {}


def test_everything_given_once_for_all() -> None:
    config = {
        "entities": ["T", "U"],
        "actorIdleTimeout": "1m30s",
        "actorScanInterval": "1s",
        "drainOngoingCallTimeout": "5s",
        "drainRebalancedActors": False,
        "reentrancy": {"enabled": True, "maxStackDepth": 7},
        "remindersStoragePartitions": 4,
        "somethingElse": [],
    }
    wanted = TypeSettings(90.0, 5.0, False, Reentrancy(True, 7), 4)
    assert read_config(config, ROUND) == {"T": wanted, "U": wanted}


def test_a_type_with_settings_of_its_own() -> None:
    config = {
        "entities": ["T", "U", "V"],
        "actorIdleTimeout": "1m",
        "drainOngoingCallTimeout": "5s",
        "reentrancy": {"enabled": True},
        "remindersStoragePartitions": 4,
        "entitiesConfig": [
            {"entities": ["T"]},
            {
                "entities": ["U"],
                "actorIdleTimeout": "2m",
                "drainOngoingCallTimeout": "7s",
                "drainRebalancedActors": False,
                "reentrancy": {"enabled": True, "maxStackDepth": 2},
                "remindersStoragePartitions": 3,
            },
        ],
    }
    found = read_config(config, ROUND)
    assert found["T"] == TypeSettings(3600.0, 5.0, True, Reentrancy(), 0)
    assert found["U"] == TypeSettings(120.0, 7.0, False, Reentrancy(True, 2), 3)
    assert found["V"] == TypeSettings(60.0, 5.0, True, Reentrancy(True, 32), 4)


def test_names_in_any_case() -> None:
    config = {
        "Entities": ["T", "U"],
        "ACTORIDLETIMEOUT": "1m",
        "Reentrancy": {"Enabled": True, "MaxStackDepth": 7},
        "EntitiesConfig": [{"Entities": ["U"], "DrainOngoingCallTimeout": "7s"}],
    }
    found = read_config(config, ROUND)
    assert found["T"] == TypeSettings(60.0, 2.0, True, Reentrancy(True, 7), 0)
    assert found["U"] == TypeSettings(3600.0, 7.0, True, Reentrancy(), 0)


@pytest.mark.parametrize(
    "own", [5, "T", {"entities": ["T"]}, [{"entities": "T"}], [{"entities": 5}]]
)
def test_settings_of_types_that_are_no_list(own: object) -> None:
    with pytest.raises(HostingError, match="entitiesConfig"):
        read_config({"entities": ["T"], "entitiesConfig": own}, ROUND)


@pytest.mark.parametrize(("drain", "used"), [("29s", 29.0), ("30s", 24.0), ("10m", 24.0)])
def test_draining_is_shorter_than_a_round(drain: str, used: float) -> None:
    found = read_config({"entities": ["T"], "drainOngoingCallTimeout": drain}, ROUND)
    assert found["T"].drain_timeout == used
    assert read_config({"entities": ["T"], "drainOngoingCallTimeout": "2s"}, 1.0)[
        "T"
    ].drain_timeout == pytest.approx(2.0)


def test_wrong_durations(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(HostingError, match="actorIdleTimeout: invalid duration"):
        read_config({"entities": ["T"], "actorIdleTimeout": "soon"}, ROUND)
    for no_text in ({"a": None}, ["1s"], True, 5):
        with pytest.raises(HostingError, match="actorIdleTimeout: expected a text such as 30s"):
            read_config({"entities": ["T"], "actorIdleTimeout": no_text}, ROUND)
    own = [{"entities": ["T"], "actorIdleTimeout": "soon"}]
    with caplog.at_level(logging.WARNING):
        found = read_config({"entities": ["T"], "entitiesConfig": own}, ROUND)
    assert found["T"].idle_timeout == 3600.0
    assert "entitiesConfig.actorIdleTimeout" in caplog.text


@pytest.mark.parametrize("partitions", [4097, 10_000_000, "7", 1.5, True, []])
@pytest.mark.parametrize("own", [False, True])
def test_partitions_that_cannot_be(partitions: object, own: bool) -> None:
    """Every host reads as many records: millions by a slip of the pen."""
    given = {"remindersStoragePartitions": partitions}
    config: dict[str, object] = {"entities": ["T"], **given}
    if own:
        config = {"entities": ["T"], "entitiesConfig": [{"entities": ["T"], **given}]}
    name = "entitiesConfig.remindersStoragePartitions" if own else "remindersStoragePartitions"
    with pytest.raises(HostingError, match=f"^{name}: expected a whole number from 0 to 4096"):
        read_config(config, ROUND)
    # A scheduler has no partitions, and Dapr ignores what is said of them.
    assert read_config(config, ROUND, stored_reminders=False)["T"] == TypeSettings()


@pytest.mark.parametrize(("given", "used"), [(4096, 4096), (0, 0), (-1, 0), (None, 0)])
def test_partitions_that_can_be(given: object, used: int) -> None:
    found = read_config({"entities": ["T"], "remindersStoragePartitions": given}, ROUND)
    assert found["T"].reminder_partitions == used


def test_settings_of_a_type_that_is_not_hosted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_config({"entities": [], "entitiesConfig": [{"entities": ["X"]}]}, ROUND) == {}
    assert "settings of 'X', which entities does not name" in caplog.text


@pytest.mark.parametrize("entities", ["T", [1], {"T": 1}])
def test_entities_that_are_no_names(entities: object) -> None:
    with pytest.raises(HostingError, match="expected a list of actor types"):
        read_config({"entities": entities}, ROUND)


def test_the_first_message_of_a_stream() -> None:
    message = pb.SubscribeActorEventsRequestInitialAlpha1(
        entities=["T", "U"],
        actor_idle_timeout=duration_pb2.Duration(seconds=60, nanos=500_000_000),
        drain_rebalanced_actors=False,
        entities_config=[
            pb.ActorEntityConfig(
                entities=["U"],
                drain_ongoing_call_timeout=duration_pb2.Duration(seconds=4),
                reentrancy=pb.ActorReentrancyConfig(enabled=True),
            )
        ],
    )
    assert read_initial(message, ROUND) == {
        "T": TypeSettings(60.5, 2.0, False),
        "U": TypeSettings(3600.0, 4.0, False, Reentrancy(True, 32)),
    }
