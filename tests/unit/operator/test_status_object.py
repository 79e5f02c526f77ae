"""From the words of sidecars to the status of a resource."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from dapr_common.wire.daprpy.operator.v1.status_pb2 import ResourceStatus, SidecarReport
from dapr_operator.kinds import COMPONENT, CONFIGURATION, RESILIENCY, DaprKind
from dapr_operator.report_book import Name, ReportBook, Sidecar, State, read
from dapr_operator.resource import Resource
from dapr_operator.status_object import Status, counted, is_new, status_of

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
LOADED, FAILED, PENDING = ResourceStatus.LOADED, ResourceStatus.FAILED, ResourceStatus.PENDING


def resource(*scopes: str, generation: int = 3) -> Resource:
    metadata = {"name": "store", "namespace": "shop", "generation": generation}
    return Resource.of(COMPONENT, {"metadata": metadata, "scopes": list(scopes)})


def sidecar(
    app_id: str, state: State | None = None, *, kind: DaprKind = COMPONENT, pod: str = ""
) -> Sidecar:
    name = (kind.word, "store")
    loaded = frozenset({name} if state == State(LOADED) else ())
    others = {} if state is None or loaded else {name: state}
    return Sidecar("shop", app_id, pod or f"{app_id}-1", loaded, others)


def status(
    sidecars: list[Sidecar],
    before: Status | None = None,
    *,
    kind: DaprKind = COMPONENT,
    about: Resource | None = None,
    missing: tuple[str, ...] = (),
    now: datetime = NOW,
) -> Any:
    about = about or resource()
    return status_of(kind, about, counted(kind, about, sidecars), missing, before or {}, now)


def ready(found: Any) -> tuple[str, str]:
    (condition,) = found["conditions"]
    assert condition["observedGeneration"] == 3
    return condition["status"], condition["reason"]


def test_loaded_everywhere() -> None:
    found = status([sidecar("a", State(LOADED)), sidecar("b", State(LOADED))])
    assert ready(found) == ("True", "Loaded")
    assert found["loaded"] == "2/2"
    assert found["sidecars"] == {"total": 2, "loaded": 2, "failed": 0}
    assert found["lastError"] is None


def test_one_has_not_said_anything_yet() -> None:
    found = status([sidecar("a", State(LOADED)), sidecar("b")])
    assert ready(found) == ("False", "Loading")
    assert found["loaded"] == "1/2"


def test_the_newest_failure_is_shown() -> None:
    old = sidecar("a", State(FAILED, "no route", NOW), pod="a-1")
    new = sidecar("b", State(FAILED, "wrong password", LATER), pod="b-1")
    found = status([old, new, sidecar("c", State(PENDING))])
    assert ready(found) == ("False", "LoadFailed")
    assert found["conditions"][0]["message"] == (
        "2 of 3 sidecars could not load it: wrong password"
    )
    assert found["lastError"] == {
        "message": "wrong password",
        "sidecar": "b-1",
        "time": "2026-05-01T12:05:00Z",
    }


def test_sidecars_out_of_scope_do_not_count() -> None:
    found = status([sidecar("a", State(LOADED)), sidecar("b")], about=resource("a"))
    assert found["loaded"] == "1/1"


def test_only_its_own_sidecars_speak_of_a_configuration() -> None:
    said = [sidecar("a", State(LOADED), kind=CONFIGURATION), sidecar("b")]
    found = status(said, kind=CONFIGURATION)
    assert ready(found) == ("True", "Loaded")
    assert set(found) == {"conditions"}


def test_other_kinds_have_conditions_only() -> None:
    assert set(status([sidecar("a")], kind=RESILIENCY)) == {"conditions"}


def test_nothing_to_say_is_not_said() -> None:
    assert status([]) is None


def test_all_have_gone() -> None:
    found = status([], status([sidecar("a", State(LOADED))]))
    assert ready(found) == ("Unknown", "NoSidecars")
    assert found["loaded"] == "0/0"


def test_missing_secrets() -> None:
    found = status([sidecar("a", State(LOADED))], missing=("p: there is no secret 'x'",))
    assert ready(found) == ("False", "SecretMissing")


def test_a_missing_secret_is_named_before_what_follows_from_it() -> None:
    missing = ("p: there is no secret 'x'",)
    found = status([sidecar("a", State(FAILED, "refused"))], missing=missing)
    assert ready(found) == ("False", "SecretMissing")
    assert found["conditions"][0]["message"] == missing[0]
    assert found["lastError"]["message"] == "refused"


def test_the_time_is_that_of_the_change() -> None:
    first = status([sidecar("a", State(FAILED, "x"))])
    second = status([sidecar("a", State(FAILED, "x"))], first, now=LATER)
    assert not is_new(first, second), "the same words make no write"
    third = status([sidecar("a", State(LOADED))], second, now=LATER)
    assert is_new(second, third)
    assert third["conditions"][0]["lastTransitionTime"] == "2026-05-01T12:05:00Z"
    assert third["lastError"] is None, "a merge patch takes it away"


def test_conditions_of_others_stay() -> None:
    theirs = {"type": "Audited", "status": "True"}
    found = status([sidecar("a", State(LOADED))], {"conditions": [theirs]})
    assert [one["type"] for one in found["conditions"]] == ["Audited", "Ready"]


# --- the book ---------------------------------------------------------------------------------


def report(*states: tuple[str, Any, str], pod: str = "a-1") -> SidecarReport:
    resources = [
        ResourceStatus(kind="Component", name=name, state=state, message=message)
        for name, state, message in states
    ]
    return SidecarReport(namespace="shop", pod=pod, resources=resources)


def test_what_changed_is_told() -> None:
    told: list[tuple[str, Name]] = []
    book = ReportBook(lambda namespace, name: told.append((namespace, name)))
    one = read(report(("store", LOADED, "")), "shop", "orders")
    assert book.put("stream", one) == []
    assert told == [("shop", ("", "")), ("shop", ("Component", "store"))]
    told.clear()
    assert book.put("stream", one) == []
    assert told == []
    two = read(report(("store", FAILED, "no"), ("other", LOADED, "")), "shop", "orders")
    assert [name for name, _ in book.put("stream", two)] == [("Component", "store")]
    assert sorted(told) == [("shop", ("Component", "other")), ("shop", ("Component", "store"))]
    told.clear()
    assert book.put("stream", two) == [], "the same failure is new once"
    book.forget("stream", "shop")
    assert told == [("shop", ("", ""))]
    assert list(book.of_namespace("shop")) == []


def test_moments_of_reports() -> None:
    since = Timestamp()
    since.FromDatetime(NOW)
    said = SidecarReport(
        namespace="shop",
        pod="a-1",
        resources=[ResourceStatus(kind="Component", name="store", state=FAILED, since=since)],
    )
    assert read(said, "shop", "orders").others["Component", "store"].since == NOW


def test_sidecars_that_loaded_the_same_share_one_set() -> None:
    book = ReportBook(lambda *_: None)
    for stream in range(3):
        book.put(stream, read(report(("a", LOADED, ""), ("b", LOADED, "")), "shop", "orders"))
    assert len({id(one.loaded) for one in book.of_namespace("shop")}) == 1


def test_a_moment_outside_the_calendar_is_none() -> None:
    report = SidecarReport(pod="a-1")
    for seconds, nanos in ((1 << 62, 0), (-(1 << 62), 0), (0, -1), (0, 2_000_000_000)):
        since = Timestamp(seconds=seconds, nanos=nanos)
        name = f"{seconds}.{nanos}"
        report.resources.add(kind="Component", name=name, state=FAILED, message="no", since=since)
    found = read(report, "shop", "a")
    assert {state.since for state in found.others.values()} == {None}
    assert len(found.others) == 4
