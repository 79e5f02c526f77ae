"""Whom an event is for, and what is not told."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from dapr_common.kube.events import Subject
from dapr_common.observe.metrics import Registry
from dapr_injector.admission import Answer, Outcome
from dapr_injector.metrics import InjectorMetrics
from dapr_injector.reports import Reports

REFUSED = Answer(outcome=Outcome.REJECTED, body=b"", app_id="orders", message="a cause")


def owner(kind: str, *, controller: bool | None = None) -> dict[str, Any]:
    found = {"apiVersion": "apps/v1", "kind": kind, "name": kind.lower(), "uid": f"uid-{kind}"}
    return found if controller is None else {**found, "controller": controller}


def request(owners: Any = None, **more: Any) -> bytes:
    metadata = {"generateName": "orders-", "ownerReferences": owners}
    asked = {"namespace": "shop", "object": {"metadata": metadata}, **more}
    return json.dumps({"request": asked}).encode()


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[Subject, str, str]] = []
        recorder: Any = self
        self.reports = Reports(InjectorMetrics(Registry()), recorder)

    def report(self, subject: Subject, reason: str, message: str) -> None:
        self.events.append((subject, reason, message))


def tell(answer: Answer, body: bytes) -> list[tuple[Subject, str, str]]:
    told = Told()
    told.reports.answered(answer, body)
    return told.events


@pytest.mark.parametrize(
    ("owners", "kind"),
    [
        ([owner("ReplicaSet", controller=True)], "ReplicaSet"),
        ([owner("Job"), owner("StatefulSet", controller=True)], "StatefulSet"),
        ([owner("Job")], "Job"),
        ([], "Namespace"),
        (None, "Namespace"),
        ("text", "Namespace"),
        (["text", {"kind": "Job"}], "Namespace"),
    ],
)
def test_the_one_who_makes_the_pod_is_told(owners: Any, kind: str) -> None:
    [(subject, reason, message)] = tell(REFUSED, request(owners))
    assert (subject.kind, subject.namespace) == (kind, "shop")
    assert (subject.uid == f"uid-{kind}") == (kind != "Namespace")
    assert (reason, message) == (
        "DaprInjectionFailed",
        "no sidecar for pod shop/orders-: a cause",
    )


def test_a_dry_run_is_logged_only(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert tell(REFUSED, request(dryRun=True)) == []
    assert "No sidecar for pod shop/orders-: a cause" in caplog.text


def test_a_failure_that_is_a_warning_is_told_once() -> None:
    answer = Answer(
        outcome=Outcome.CALLER_NOT_ALLOWED, body=b"", message="not yours", warnings=("not yours",)
    )
    assert [reason for _, reason, _ in tell(answer, request())] == ["DaprInjectionFailed"]


def test_warnings_have_a_word_of_their_own() -> None:
    answer = Answer(outcome=Outcome.INJECTED, body=b"", warnings=("one", "two"))
    events = [(reason, text) for _, reason, text in tell(answer, request())]
    assert events == [
        ("DaprInjectionWarning", "pod shop/orders-: one"),
        ("DaprInjectionWarning", "pod shop/orders-: two"),
    ]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"request": 7}', request(object=3)])
def test_what_has_no_pod_is_told_to_nobody_or_its_namespace(body: bytes) -> None:
    for subject, _, _ in tell(REFUSED, body):
        assert subject == Subject("v1", "Namespace", "shop", "shop")


def test_long_texts_of_strangers_are_not_kept() -> None:
    """Whoever reaches the port may send them; metrics and events stay."""
    told = Told()
    registry = Registry()
    told.reports = Reports(InjectorMetrics(registry), told)  # type: ignore[arg-type]
    long = "x" * 100_000
    metadata = {"name": long, "ownerReferences": [{**owner("Job"), "uid": long}]}
    body = request(namespace=long, object={"metadata": metadata})
    for outcome in (Outcome.REJECTED, Outcome.CALLER_NOT_ALLOWED):
        answer = Answer(outcome=outcome, body=b"", app_id=long, message="a cause")
        told.reports.answered(answer, body)
    assert len(registry.render()) < 10_000
    for subject, _, message in told.events:
        assert subject == Subject("v1", "Namespace", "x" * 253, "x" * 253)
        assert len(message) < 1000


def test_many_warnings_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    warnings = tuple(f"warning {number}" for number in range(50_000))
    events = tell(Answer(outcome=Outcome.INJECTED, body=b"", warnings=warnings), request())
    assert len(events) == 21
    assert events[-1][2] == "pod shop/orders-: 49980 more warnings"
    assert len(caplog.records) <= 21
