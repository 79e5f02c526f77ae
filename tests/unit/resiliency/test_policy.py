from __future__ import annotations

import logging
from typing import Any

import pytest

from dapr_common.kube.resources import Resiliency
from dapr_sidecar.resiliency.policy import LoadedPolicies
from dapr_sidecar.resiliency.spec import SpecError, read_spec


def read(policies: Any = None, targets: Any = None) -> Any:
    return read_spec(Resiliency("r", {"policies": policies, "targets": targets}))


def test_nothing_is_none_and_the_built_in_retries_are_there(world: Any, script: Any) -> None:
    none = world.policies()
    assert none.component_outbound("st", "Statestore") is None
    assert none.component_inbound("ps", "Pubsub") is None
    assert none.app("a", "a:m") is None
    assert none.actor_pre_lock("T", "1") is None
    assert none.actor_post_lock("T", "1") is None
    assert not none.has_app_target("a")
    operation = script(OSError(), OSError(), "fine")
    assert world.run(none.builtin("DaprBuiltInServiceRetries").run(operation)) == "fine"
    assert world.waits == [1.0, 1.0]
    assert LoadedPolicies().builtin("DaprBuiltInActorNotFoundRetries").retries


def test_names_of_strangers_are_not_remembered() -> None:
    policies = LoadedPolicies(
        [Resiliency("r", {"policies": {"timeouts": {"t": 1}}, "targets": {"apps": {"a": {}}}})]
    )
    for number in range(100):
        assert policies.app(f"x{number}", "m") is None
    assert len(policies._apps) == 0


def test_durations(world: Any) -> None:
    spec = read({"timeouts": {"a": "5s", "b": 250, "c": "250", "d": "1m30s"}})
    assert spec.timeouts == {"a": 5.0, "b": 0.25, "c": 0.25, "d": 90.0}
    retry = read({"retries": {"r": {"duration": 20, "maxInterval": "1s", "maxRetries": "4"}}})
    assert (retry.retries["r"].duration, retry.retries["r"].max_interval) == (0.02, 1.0)
    assert retry.retries["r"].max_retries == 4


def test_defaults_of_a_retry_and_a_breaker() -> None:
    spec = read({"retries": {"r": {}}, "circuitBreakers": {"c": {}}})
    retry, breaker = spec.retries["r"], spec.breakers["c"]
    assert (retry.policy, retry.duration, retry.max_interval, retry.max_retries) == (
        "constant",
        5.0,
        60.0,
        -1,
    )
    assert (breaker.max_requests, breaker.interval, breaker.timeout) == (1, 0.0, 60.0)


@pytest.mark.parametrize(
    ("policies", "targets", "message"),
    [
        ({"timeouts": {"t": "soon"}}, {}, 'policies.timeouts.t: invalid duration "soon"'),
        ({"retries": {"r": {"policy": "linear"}}}, {}, "policies.retries.r.policy: expected"),
        ({"retries": {"r": {"maxRetries": "many"}}}, {}, "policies.retries.r.maxRetries: expected"),
        ({"retries": {"r": {"duration": "x"}}}, {}, "policies.retries.r.duration: invalid"),
        ({"retries": {"r": {"matching": {"httpStatusCodes": "1"}}}}, {}, "httpStatusCodes"),
        ({"retries": []}, {}, "policies.retries: expected a mapping"),
        (
            {"circuitBreakers": {"c": {"trip": "bad >"}}},
            {},
            "policies.circuitBreakers.c.trip: invalid",
        ),
        ({"circuitBreakers": {"c": {"trip": "requests + 1"}}}, {}, "expected a bool"),
        ({}, {"actors": {"T": {"circuitBreaker": "c"}}}, "must include scope"),
        (
            {},
            {"actors": {"T": {"circuitBreaker": "c", "circuitBreakerScope": "x"}}},
            "circuitBreakerScope: expected type, id or both",
        ),
    ],
)
def test_errors_name_the_field(policies: Any, targets: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(policies, targets)
    assert message in str(caught.value)


def test_a_wrong_resource_is_left_out_whole_and_the_rest_stays(world: Any, caplog: Any) -> None:
    good = {"policies": {"timeouts": {"t": "1s"}}, "targets": {"apps": {"a": {"timeout": "t"}}}}
    bad = {
        "policies": {"timeouts": {"t": "2s"}, "retries": {"r": {"policy": "x"}}},
        "targets": {"apps": {"b": {"timeout": "t"}}},
    }
    with caplog.at_level(logging.ERROR, "dapr.runtime.resiliency"):
        policies = world.policies(good, bad)
    assert "r1" in caplog.text
    assert policies.app("a", "a:m")._timeout == 1.0
    assert policies.app("b", "b:m") is None
    assert [event for event in world.events if event[0] == "loaded"] == [("loaded", "r0", "")]


def test_later_resources_overwrite_and_may_use_earlier_policies(world: Any) -> None:
    first = {"policies": {"timeouts": {"t": "1s", "u": "3s"}}, "targets": {}}
    second = {
        "policies": {"timeouts": {"t": "2s"}},
        "targets": {"apps": {"a": {"timeout": "t"}, "b": {"timeout": "u"}}},
    }
    policies = world.policies(first, second)
    assert policies.app("a", "m")._timeout == 2.0
    assert policies.app("b", "m")._timeout == 3.0


def test_scopes(world: Any) -> None:
    body = {"policies": {"timeouts": {"DefaultTimeoutPolicy": "1s"}}, "targets": {}}
    for scopes, found in (((), True), (("me", "you"), True), (("you",), False)):
        loaded = LoadedPolicies([Resiliency("r", body, scopes=scopes)], "me")
        assert (loaded.app("a", "m") is not None) is found


def test_an_unknown_reference_is_nothing_but_the_target_is_there(world: Any) -> None:
    policies = world.policies(
        {
            "policies": {"retries": {"DefaultRetryPolicy": {"maxRetries": 1}}},
            "targets": {"apps": {"a": {"retry": "missing"}}},
        }
    )
    assert policies.app("a", "m") is None
    assert policies.has_app_target("a")
    assert policies.app("b", "m") is not None
    assert not policies.has_app_target("b")


def _default(name: str, seconds: int) -> dict[str, Any]:
    return {"policies": {"timeouts": {name: f"{seconds}s"}}, "targets": {}}


def test_default_lookup_order_for_components(world: Any) -> None:
    names = [
        "DefaultStatestoreComponentOutboundTimeoutPolicy",
        "DefaultComponentOutboundTimeoutPolicy",
        "DefaultComponentTimeoutPolicy",
        "DefaultTimeoutPolicy",
    ]
    for first in range(len(names)):
        given = [_default(name, at) for at, name in enumerate(names[first:], first + 1)]
        runner = world.policies(*given).component_outbound("st", "Statestore")
        assert runner._timeout == first + 1
    inbound = world.policies(*(_default(name, 1) for name in names[:2]))
    assert inbound.component_inbound("st", "Statestore") is None
    assert inbound.component_outbound("ps", "Pubsub")._timeout == 1


def test_default_lookup_order_for_apps_and_actors(world: Any) -> None:
    both = world.policies(
        _default("DefaultAppTimeoutPolicy", 1), _default("DefaultTimeoutPolicy", 2)
    )
    assert both.app("a", "m")._timeout == 1
    assert both.actor_post_lock("T", "1")._timeout == 2


def test_one_breaker_for_a_component_in_both_directions(world: Any, script: Any) -> None:
    policies = world.policies(
        {
            "policies": {
                "circuitBreakers": {"in": {"trip": "totalFailures > 0"}, "out": {"trip": "false"}}
            },
            "targets": {
                "components": {
                    "c": {
                        "inbound": {"circuitBreaker": "in"},
                        "outbound": {"circuitBreaker": "out"},
                    }
                }
            },
        }
    )
    inbound = policies.component_inbound("c", "Binding")
    outbound = policies.component_outbound("c", "Binding")
    assert inbound._breaker is outbound._breaker
    with pytest.raises(OSError):
        world.run(outbound.run(script(OSError())))
    assert outbound._breaker.state == "open"


def test_app_breakers_are_per_endpoint_within_the_cache_size(world: Any) -> None:
    policies = world.policies(
        {
            "policies": {"circuitBreakers": {"c": {}}},
            "targets": {"apps": {"a": {"circuitBreaker": "c", "circuitBreakerCacheSize": 2}}},
        }
    )
    first = policies.app("a", "a:1")._breaker
    assert policies.app("a", "a:1")._breaker is first
    for endpoint in ("a:2", "a:3"):
        policies.app("a", endpoint)
    assert policies.app("a", "a:1")._breaker is not first


@pytest.mark.parametrize(("scope", "shared"), [("type", True), ("id", False), ("both", False)])
def test_actor_breaker_scope(world: Any, scope: str, shared: bool) -> None:
    policies = world.policies(
        {
            "policies": {"circuitBreakers": {"c": {}}, "timeouts": {"t": "1s"}},
            "targets": {
                "actors": {
                    "T": {"circuitBreaker": "c", "circuitBreakerScope": scope, "timeout": "t"}
                }
            },
        }
    )
    one, two = policies.actor_pre_lock("T", "1"), policies.actor_pre_lock("T", "2")
    assert (one._breaker is two._breaker) is shared
    assert one._timeout is None
    post = policies.actor_post_lock("T", "1")
    assert post._timeout == 1.0
    assert post._breaker is None
    assert policies.has_actor_target("T")


def test_default_actor_breaker_is_per_type(world: Any) -> None:
    policies = world.policies(
        {"policies": {"circuitBreakers": {"DefaultCircuitBreakerPolicy": {}}}, "targets": {}}
    )
    one = policies.actor_pre_lock("T", "1")
    assert one._breaker is policies.actor_pre_lock("T", "2")._breaker
    assert one._breaker is not policies.actor_pre_lock("U", "1")._breaker


def test_overriding_built_in_retries(world: Any, script: Any) -> None:
    def calls(name: str, retries: int) -> int:
        body = {name: {"duration": 1, "maxRetries": retries}}
        policies = world.policies({"policies": {"retries": body}, "targets": {}})
        operation = script(OSError())
        with pytest.raises(OSError):
            world.run(policies.builtin(name).run(operation))
        return int(operation.calls)

    assert calls("DaprBuiltInServiceRetries", 7) == 8
    assert calls("DaprBuiltInServiceRetries", 1) == 4
    assert calls("DaprBuiltInServiceRetries", -1) == 4
    assert calls("DaprBuiltInActorNotFoundRetries", 9) == 6


def test_lookups_are_counted_with_their_target(world: Any) -> None:
    policies = world.policies(
        {
            "policies": {"timeouts": {"t": 1}, "circuitBreakers": {"c": {}}},
            "targets": {
                "components": {"st": {"outbound": {"timeout": "t", "circuitBreaker": "c"}}}
            },
        }
    )
    policies.component_outbound("st", "Statestore")
    assert ("executed", "timeout", "outbound", "Statestore_st", "") in world.events
    assert ("executed", "circuitbreaker", "outbound", "Statestore_st", "closed") in world.events
    assert ("state", "outbound", "Statestore_st", "closed") in world.events
