"""The records of Dapr up to 1.14, and what a batch of changes makes of them."""

from __future__ import annotations

import math

import orjson
import pytest
from google.protobuf import any_pb2, duration_pb2, timestamp_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.internals.v1 import reminders_pb2
from dapr_sidecar.api.grpc.actor_state import failure_policy
from dapr_sidecar.blocks.actors.base import ActorRef
from dapr_sidecar.blocks.actors.reminder import (
    DROP,
    FailurePolicy,
    Reminder,
    ReminderRequest,
    Track,
    from_entry,
    from_track,
    policy_of,
    to_entry,
    to_track,
)
from dapr_sidecar.blocks.actors.reminder_edits import (
    AlreadyExistsError,
    Batch,
    Put,
    Remove,
    RemoveAll,
    first_part,
    records_of,
    wanted_partitions,
)
from dapr_sidecar.blocks.actors.reminder_firing import Scheduled, step
from dapr_sidecar.blocks.actors.reminder_layout import (
    Layout,
    LayoutError,
    decode_entries,
    decode_layout,
    encode_entry,
    encode_layout,
    join_entries,
    metadata_record,
    partition_of,
    track_key,
)
from dapr_sidecar.blocks.actors.reminder_plan import first_tick, plan
from dapr_sidecar.blocks.actors.times import parse_period
from dapr_sidecar.blocks.scheduler.policies import paced, policy_message

REF = ActorRef("T", "a")
WHOLE = Layout("T")


def reminder(name: str = "r", actor_id: str = "a", due: float = 1_700_000_000.5) -> Reminder:
    return Reminder(ActorRef("T", actor_id), name, due, "5s", "10s", b'{"d":1}')


def test_the_keys_are_dapr_s() -> None:
    assert metadata_record("T").key == "actors||T||metadata"
    assert metadata_record("T").partition == "actors||T"
    [record] = WHOLE.records()
    assert (record.key, record.partition) == ("actors||T", "actors||T")
    spread = Layout("T", "some-id", 2)
    assert [r.key for r in spread.records()] == [
        "actors||T||some-id||reminders||1",
        "actors||T||some-id||reminders||2",
    ]
    assert {r.partition for r in spread.records()} == {"some-id"}
    assert track_key(REF, "r") == "T||a||r"


@pytest.mark.parametrize(
    ("text", "value"), [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)]
)
def test_the_hash_is_fnv_1a_of_32_bits(text: str, value: int) -> None:
    """The published test vectors of the hash."""
    for partitions in (1, 7, 1000, 2**31):
        assert partition_of(text[:1], text[1:], partitions) == value % partitions + 1


def test_a_metadata_record_is_read_as_dapr_writes_it() -> None:
    data = b'{"id":"x-y","actorRemindersMetadata":{"partitionCount":3}}'
    assert decode_layout("T", data) == Layout("T", "x-y", 3)
    assert decode_layout("T", encode_layout(Layout("T", "x", 9))) == Layout("T", "x", 9)
    assert decode_layout("T", None) == Layout("T")
    assert decode_layout("T", b"{}").partitions == 0
    with pytest.raises(LayoutError, match=r"actors\|\|T\|\|metadata cannot be read"):
        decode_layout("T", b"[1")


@pytest.mark.parametrize("count", [-1, 65_537, 10_000_000])
def test_a_metadata_record_of_more_records_than_anybody_reads_is_not_believed(count: int) -> None:
    data = orjson.dumps({"id": "x", "actorRemindersMetadata": {"partitionCount": count}})
    with pytest.raises(LayoutError, match=rf"metadata cannot be read: partitionCount is {count},"):
        decode_layout("T", data)


def test_json_records_of_dapr_are_read() -> None:
    data = (
        b'[{"registeredTime":"2026-01-02T03:04:05Z","expirationTime":"2027-01-01T00:00:00Z",'
        b'"actorID":"a","actorType":"T","name":"r","data":{"n":12345678901234567890},'
        b'"period":"R3/PT1S","dueTime":"1s"}]'
    )
    [entry] = decode_entries(WHOLE.records()[0], data)
    found = from_entry(entry)
    assert found.ref == REF
    assert (found.name, found.due_time, found.period) == ("r", "1s", "R3/PT1S")
    assert found.data == b'{"n":12345678901234567890}'
    assert found.expires is not None
    assert orjson.loads(join_entries([encode_entry(to_entry(found))])) == orjson.loads(data)


def test_a_zero_time_of_go_is_no_time() -> None:
    entry = {
        "actorType": "T",
        "actorID": "a",
        "name": "r",
        "expirationTime": "0001-01-01T00:00:00Z",
    }
    assert from_entry(entry).expires is None


def test_protobuf_records_of_dapr_are_read() -> None:
    data = any_pb2.Any()
    data.Pack(wrappers_pb2.BytesValue(value=b'{"d":1}'))
    message = reminders_pb2.Reminder(
        actor_id="a",
        actor_type="T",
        name="r",
        data=data,
        period="1s",
        due_time="2s",
        registered_time=timestamp_pb2.Timestamp(seconds=1_700_000_000, nanos=500_000_000),
    )
    packed = b"\x00pb" + reminders_pb2.Reminders(reminders=[message]).SerializeToString()
    [entry] = decode_entries(WHOLE.records()[0], packed)
    assert from_entry(entry) == Reminder(REF, "r", 1_700_000_000.5, "2s", "1s", b'{"d":1}')


@pytest.mark.parametrize("data", [b"{}", b"[1]", b"[", b"\x00pb\xff"])
def test_a_record_that_is_none_is_named(data: bytes) -> None:
    with pytest.raises(LayoutError, match=r"the record actors\|\|T cannot be read"):
        decode_entries(WHOLE.records()[0], data)


@given(
    st.text(min_size=1),
    st.integers(0, 4_000_000_000_000_000),
    st.none() | st.integers(0, 4_000_000_000),
    st.sampled_from([None, DROP, FailurePolicy(2.5, 7), FailurePolicy(0.0, None)]),
    st.sampled_from([None, b"1", b'"x"', b'{"a":[1,2.5,null]}', b"18446744073709551617"]),
)
def test_what_is_written_is_read_again(
    name: str, micros: int, expires: int | None, policy: FailurePolicy | None, data: bytes | None
) -> None:
    request = ReminderRequest(REF, name.encode("utf-8", "replace").decode(), "1s", "PT5S")
    planned = plan(request, micros / 1e6)
    given_one = Reminder(
        REF, planned.name, planned.due, "1s", "PT5S", data, expires and float(expires), policy
    )
    stored = join_entries([encode_entry(to_entry(given_one))])
    [entry] = decode_entries(WHOLE.records()[0], stored)
    assert from_entry(entry) == given_one


def test_tracks_are_dapr_s() -> None:
    assert to_track(Track(0.0, 3)) == b'{"lastFiredTime":"1970-01-01T00:00:00Z","repetitionLeft":3}'
    assert from_track(b'{"lastFiredTime":"1970-01-01T00:00:01Z","repetitionLeft":2}') == Track(1, 2)
    assert from_track(b"nonsense") is None


def test_failure_policies() -> None:
    assert policy_of(None) is None
    assert policy_of({"drop": {}}) == DROP
    assert policy_of({"constant": {"interval": "2s", "maxRetries": 1}}) == FailurePolicy(2, 1)
    assert policy_of({"constant": {"interval": "2s"}}) == FailurePolicy(2, None)
    retries = [{"constant": {"maxRetries": wrong}} for wrong in ("x", True, 1.0, -1, 2**32)]
    for wrong in ("x", {"constant": 1}, {"constant": {"interval": {}}}, *retries):
        with pytest.raises(ValueError, match="failure_policy"):
            policy_of(wrong)


def test_an_interval_of_the_wire_ends_where_go_s_durations_end() -> None:
    policy = common_pb2.JobFailurePolicy()
    policy.constant.interval.seconds, policy.constant.interval.nanos = 1, 500_000_000
    assert failure_policy(policy) == FailurePolicy(1.5, None)
    for seconds, kept in ((1 << 62, 9_223_372_036), (-1 << 62, 0)):
        policy.constant.interval.seconds = seconds
        assert failure_policy(policy) == FailurePolicy(kept, None)


def test_no_policy_tries_again_as_fast_as_the_app_fails() -> None:
    assert DROP.pause == FailurePolicy().pause == 1.0
    for nothing in ({}, {"interval": "0s"}, {"interval": None, "maxRetries": 5}):
        found = policy_of({"constant": nothing})
        assert found is not None
        assert found.pause == 1.0
    assert FailurePolicy(1e-6, None).pause == 0.1
    assert FailurePolicy(90.0).pause == 90.0


def test_schedulers_get_no_policy_without_a_pause() -> None:
    endless = policy_message(FailurePolicy(0.0, None)).constant
    assert endless.interval.seconds == 1
    assert not endless.HasField("max_retries")
    assert policy_message(FailurePolicy(0.0, 0)).HasField("drop")
    constant = common_pb2.JobFailurePolicyConstant
    given = common_pb2.JobFailurePolicy(constant=constant(max_retries=7))
    assert paced(given).constant == constant(
        interval=duration_pb2.Duration(seconds=1), max_retries=7
    )
    assert not given.constant.HasField("interval")
    given.constant.interval.nanos = 1
    assert paced(given).constant.interval.nanos == 100_000_000
    given.constant.interval.seconds = 1 << 60  # more than Python's calendar has
    assert paced(given) == given
    dropped = common_pb2.JobFailurePolicy(drop=common_pb2.JobFailurePolicyDrop())
    assert paced(dropped) == dropped


# --- requests -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "job failed validation: job must have either a due time or a schedule"),
        (
            {"due_time": "xx"},
            "error parsing reminder due time: unsupported time/duration format: xx",
        ),
        (
            {"due_time": "1s", "period": "xx"},
            "invalid reminder period: parse error: unsupported duration format: xx",
        ),
        ({"due_time": "1s", "period": "R0/PT1S"}, "reminder T||a||r has zero repetitions"),
        (
            {"due_time": "1s", "ttl": "2001-01-01T00:00:00Z"},
            "reminder T||a||r has already expired: dueTime: 1s TTL: 2001-01-01T00:00:00Z",
        ),
        (
            {"due_time": "1s", "ttl": "xx"},
            "error parsing reminder TTL: unsupported time/duration format: xx",
        ),
    ],
)
def test_requests_that_cannot_be_used(fields: dict[str, str], text: str) -> None:
    with pytest.raises(ValueError) as refused:
        plan(ReminderRequest(REF, "r", **fields), 1_700_000_000.0)
    assert str(refused.value) == text


def test_without_a_due_time_the_first_run_is_one_period_away() -> None:
    assert plan(ReminderRequest(REF, "r", period="PT5S"), 100.0).due == 105.0
    assert plan(ReminderRequest(REF, "r", due_time="0s", period="PT5S"), 100.0).due == 100.0


# --- edits ----------------------------------------------------------------------------------


def batch(*entries: Reminder, layout: Layout = WHOLE) -> Batch:
    found = Batch(layout)
    for record in layout.records():
        own = [entry for entry in entries if layout.record_of(*entry.key) == record]
        found.load(record, {entry.key: encode_entry(to_entry(entry)) for entry in own})
    return found


def names(found: Batch) -> list[tuple[str, list[str]]]:
    return [(record.key, [name for _, name in pieces]) for record, pieces in found.changed()]


def test_a_put_adds_or_replaces() -> None:
    edited = batch(reminder("old"))
    edited.apply(Put(reminder("new")))
    edited.apply(Put(reminder("old", due=5.0)))
    assert names(edited) == [("actors||T", ["old", "new"])]
    assert [(c.name, c.had_track) for c in edited.changes] == [("new", False), ("old", True)]


def test_a_put_that_must_not_overwrite() -> None:
    edited = batch(reminder("old"))
    with pytest.raises(AlreadyExistsError):
        edited.apply(Put(reminder("old"), overwrite=False))
    edited.apply(Put(reminder("new"), overwrite=False))
    with pytest.raises(AlreadyExistsError):
        edited.apply(Put(reminder("new"), overwrite=False))
    assert names(edited) == [("actors||T", ["old", "new"])]


def test_a_removal_of_nothing_changes_nothing() -> None:
    edited = batch(reminder("old"))
    edited.apply(Remove(REF, "missing"))
    edited.apply(Remove(ActorRef("T", "b"), "old"))
    assert not edited.changed()


def test_who_is_done_with_a_reminder_does_not_delete_its_successor() -> None:
    edited = batch(reminder("r", due=20.25))
    edited.apply(Remove(REF, "r", due=10.25))
    assert not edited.changed()
    edited.apply(Remove(REF, "r", due=20.25))
    assert names(edited) == [("actors||T", [])]


def test_all_of_an_actor_or_of_the_type() -> None:
    layout = Layout("T", "id", 4)
    entries = [reminder(f"r{n}", actor_id) for n in range(10) for actor_id in ("a", "b")]
    edited = batch(*entries, layout=layout)
    edited.apply(RemoveAll("a"))
    left = [actor_id for _, kept in edited.changed() for actor_id, _ in kept]
    assert set(left) == {"b"}
    edited.apply(RemoveAll())
    assert all(not kept for _, kept in edited.changed())
    assert len(edited.changes) == 20


def test_only_the_records_that_are_concerned_are_touched() -> None:
    layout = Layout("T", "id", 50)
    edits = [Put(reminder("r1")), Remove(REF, "r1"), Put(reminder("r2"))]
    assert records_of(layout, edits) == [layout.record_of("a", "r1"), layout.record_of("a", "r2")]
    assert len(records_of(layout, [RemoveAll()])) == 50


def test_a_batch_ends_where_the_store_takes_no_more_records() -> None:
    layout = Layout("T", "id", 50)
    edits = [Put(reminder(f"r{n}")) for n in range(40)]
    assert first_part(layout, edits, None) == 40
    most = first_part(layout, edits, 5)
    assert 5 <= most < 40
    assert len(records_of(layout, edits[:most])) == 5
    assert len(records_of(layout, edits[: most + 1])) == 6
    assert first_part(layout, [RemoveAll(), *edits], 5) == 1


def test_records_that_become_too_full_are_spread() -> None:
    assert wanted_partitions(WHOLE, 100, None) is None
    assert wanted_partitions(WHOLE, 101, None) == 16
    assert wanted_partitions(Layout("T", "id", 16), 101, None) == 128
    assert wanted_partitions(Layout("T", "id", 128), 101, None) == 1024
    assert wanted_partitions(Layout("T", "id", 4096), 5000, None) is None
    assert wanted_partitions(Layout("T", "id", 16), 101, 99) == 99
    assert wanted_partitions(Layout("T", "id", 99), 101, 99) is None


# --- what follows a run ---------------------------------------------------------------------


def scheduled(
    period: str, tick: float, left: int | None, expires: float | None = None
) -> Scheduled:
    kept = Reminder(REF, "r", tick, "", period, None, expires)
    return Scheduled(kept, REF, parse_period(period), tick, left)


def test_steps() -> None:
    assert step(scheduled("", 10, None), 11).following == math.inf
    following = step(scheduled("10s", 10, None), 10.5)
    assert (following.ran, following.following, following.left) == (10, 20, None)
    missed = step(scheduled("10s", 10, 5), 47)
    assert (missed.ran, missed.following, missed.left) == (40, 50, 4)
    assert step(scheduled("10s", 10, 1), 10).following == math.inf
    assert step(scheduled("10s", 10, None, expires=19.0), 10).following == math.inf
    assert step(scheduled("10s", 10, None, expires=20.0), 10).following == 20


def test_a_track_says_where_to_go_on() -> None:
    period = parse_period("R5/PT10S")
    kept = reminder(due=100.5)
    assert first_tick(kept, period, None) == (100.5, 5)
    assert first_tick(kept, period, Track(120.5, 2)) == (130.5, 2)
    assert first_tick(kept, period, Track(90.0, 1)) == (100.5, 5)  # of a predecessor
    assert first_tick(kept, period, Track(100.0, 4)) == (110.0, 4)  # whole seconds, as Dapr wrote
