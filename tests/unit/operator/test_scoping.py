"""Which event an app gets: whoever obeys the events has what the scopes give it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.kube.informer import Change
from dapr_common.wire.dapr.proto.operator.v1.operator_pb2 import ResourceEventType
from dapr_operator.kinds import COMPONENT
from dapr_operator.pending import PendingChanges
from dapr_operator.resource import Resource
from dapr_operator.scoping import event_type, visible

UNKNOWN, CREATED, UPDATED, DELETED = (
    ResourceEventType.UNKNOWN,
    ResourceEventType.CREATED,
    ResourceEventType.UPDATED,
    ResourceEventType.DELETED,
)


def component(scopes: Sequence[str] = (), name: str = "store", **spec: Any) -> Resource:
    body: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": "7"},
        "spec": spec,
    }
    if scopes:
        body["scopes"] = list(scopes)
    return Resource.of(COMPONENT, body)


OPEN, OURS, THEIRS = component(), component(["orders", "x"]), component(["payments"])


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, OPEN, CREATED),
        (None, OURS, CREATED),
        (None, THEIRS, UNKNOWN),
        (OPEN, OPEN, UPDATED),
        (OPEN, OURS, UPDATED),
        (THEIRS, OURS, CREATED),
        (OURS, THEIRS, DELETED),
        (THEIRS, THEIRS, UNKNOWN),
        (OPEN, None, DELETED),
        (THEIRS, None, UNKNOWN),
        (None, None, UNKNOWN),
    ],
)
def test_events(
    before: Resource | None, after: Resource | None, expected: ResourceEventType
) -> None:
    assert event_type(before, after, "orders") == expected


def test_lists_have_what_the_scopes_give() -> None:
    assert visible([OPEN, OURS, THEIRS], "orders") == [OPEN, OURS]
    assert visible([OPEN, OURS, THEIRS], "payments") == [OPEN, THEIRS]


SCOPES = st.lists(st.sampled_from(["orders", "payments"]), max_size=2, unique=True)
VERSIONS = st.none() | st.builds(component, SCOPES, value=st.integers(0, 2))
STEPS = st.lists(st.tuples(st.sampled_from(["a", "b"]), VERSIONS, st.booleans()), max_size=12)


@given(STEPS)
def test_whoever_obeys_events_has_what_a_list_would_give(
    steps: list[tuple[str, Resource | None, bool]],
) -> None:
    """Also when changes come faster than they are sent."""
    cluster: dict[str, Resource | None] = {}
    pending = PendingChanges()
    has: dict[str, Resource] = {}

    def send_all() -> None:
        while pending:
            change = pending.take()
            kind, name = event_type(change.before, change.after, "orders"), change.key[1]
            if kind == CREATED:
                assert name not in has
            elif kind != UNKNOWN:
                assert name in has
            if kind == DELETED:
                assert has.pop(name) == change.before
            elif kind != UNKNOWN:
                assert change.after is not None
                has[name] = change.after

    for name, after, is_time_to_send in steps:
        pending.add(Change(("shop", name), cluster.get(name), after))
        cluster[name] = after
        if is_time_to_send:
            send_all()
    send_all()
    expected = {
        name: one for name, one in cluster.items() if one is not None and one.is_for("orders")
    }
    assert has == expected
