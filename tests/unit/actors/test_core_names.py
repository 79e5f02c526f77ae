"""Names, stores, callbacks and what is hosted."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from dapr_common.errors import DaprError
from dapr_common.kube.resources import Component
from dapr_sidecar.blocks.actors.base import ActorApp, ActorRef, Callback, TypeSettings
from dapr_sidecar.blocks.actors.callback_json import callback_json
from dapr_sidecar.blocks.actors.hosting import Hosting
from dapr_sidecar.blocks.actors.names import call_problem, check_actor, check_not_reserved
from dapr_sidecar.blocks.actors.store import SecondActorStoreError, actor_store, check_only_one
from dapr_sidecar.components.state.memory import InMemoryStateStore
from dapr_sidecar.loaded import Loaded, LoadedComponents

APP = cast(ActorApp, object())
REF = ActorRef("T", "1")


@pytest.mark.parametrize("name", ["a#", "a?", "a/b", "a\\b", "a\0", "a\n", "\x7f", ".", ".."])
def test_names_that_are_refused(name: str) -> None:
    for ref in (ActorRef("T", name), ActorRef(name, "1")):
        with pytest.raises(DaprError) as refused:
            check_actor(ref)
        assert refused.value.http_status == 400
        assert call_problem(ref, "m") is not None


def test_a_refusal_shows_the_name_as_go_does() -> None:
    with pytest.raises(DaprError, match=r'forbidden character: "\\x00é\\\\\\x7f\\u0085\\n"'):
        check_actor(ActorRef("T", "\0é\\\x7f\x85\n"))


@pytest.mark.parametrize("name", ["a b", "a||b", "日本語", "a.b", "...", "x" * 500])
def test_names_that_are_taken(name: str) -> None:
    check_actor(ActorRef(name, name))


@pytest.mark.parametrize("method", ["../x", "a/../b", "..", "a\n", "."])
def test_methods_that_lead_elsewhere(method: str) -> None:
    assert str(call_problem(REF, method)).startswith("invalid actor method: ")


def test_methods_with_slashes() -> None:
    assert call_problem(REF, "a/b..c") is None


def test_types_of_the_runtime() -> None:
    check_not_reserved("dapr.internals")
    with pytest.raises(DaprError) as refused:
        check_not_reserved("dapr.internal.default.app.workflow")
    assert (refused.value.code, refused.value.http_status) == ("ERR_ACTOR_TYPE_RESERVED", 403)


def loaded(name: str, **properties: str) -> Loaded[Any]:
    manifest = Component(name=name, type="state.in-memory")
    return Loaded(manifest, InMemoryStateStore.__new__(InMemoryStateStore), dict(properties))


def test_the_store_that_says_so() -> None:
    components = LoadedComponents(state={"a": loaded("a"), "b": loaded("b", actorstatestore="On")})
    found = actor_store(components)
    assert found is not None
    assert found.manifest.name == "b"
    check_only_one("b", {"actorstatestore": "true"}, components)
    check_only_one("c", {"actorstatestore": "nope"}, components)
    with pytest.raises(SecondActorStoreError, match="duplicate actor state store: 'b'"):
        check_only_one("c", {"actorstatestore": "true"}, components)


def test_bodies_of_callbacks() -> None:
    reminder = Callback(REF, "r", "reminder", b'{"big": 12345678901234567890}', "1s", "")
    assert callback_json(reminder) == (
        b'{"data":{"big": 12345678901234567890},"dueTime":"1s","period":""}'
    )
    timer = Callback(REF, "t", "timer", None, "", "R2/PT1S", 'say "hi"')
    assert json.loads(callback_json(timer)) == {
        "callback": 'say "hi"',
        "dueTime": "",
        "period": "R2/PT1S",
    }


def test_types_are_hosted_while_there_is_a_store_and_the_app_is_well() -> None:
    hosting, seen = Hosting(), []
    hosting.changed = lambda before, after: seen.append((sorted(before), sorted(after)))
    registration = hosting.register(APP, {"T": TypeSettings(), "U": TypeSettings()})
    assert hosting.types == frozenset()
    hosting.set_store(True)
    hosting.set_healthy(False)
    hosting.set_healthy(False)
    hosting.set_healthy(True)
    hosting.unregister(registration)
    both: list[str] = ["T", "U"]
    assert seen == [([], both), (both, []), ([], both), (both, [])]
    assert hosting.settings("T") is None
    assert hosting.app("T") is None


def test_the_newest_registration_gets_the_calls() -> None:
    hosting, other = Hosting(), cast(ActorApp, object())
    hosting.set_store(True)
    hosting.register(APP, {"T": TypeSettings(), "U": TypeSettings()})
    newer = hosting.register(other, {"T": TypeSettings(idle_timeout=1.0)})
    assert hosting.app("T") is other
    assert hosting.app("U") is APP
    assert hosting.settings("T") == TypeSettings(idle_timeout=1.0)
    hosting.unregister(newer)
    assert hosting.app("T") is APP
    assert hosting.types == {"T", "U"}
