from __future__ import annotations

from collections.abc import Callable

import pytest

Said = Callable[..., list[str]]
REDIS = "type: state.redis\nversion: v1\nmetadata:\n- {name: redisHost, value: 'r:6379'}\n"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("version: v1", "spec.type: is required"),
        ("type: redis", 'spec.type: "redis": expected a kind and a name, such as state.redis'),
        (
            "type: states.redis",
            'spec.type: "states.redis": there is no kind "states", did you mean "state"?',
        ),
        (
            "type: state.reddis",
            'spec.type: unknown type "state.reddis", did you mean "state.redis"?',
        ),
        (
            "type: pubsub.inmemory",
            'spec.type: unknown type "pubsub.inmemory", did you mean "pubsub.in-memory"?',
        ),
        (
            "type: state.redis\nversion: v2\nmetadata: [{name: redisHost, value: r}]",
            'spec.version: state.redis has no version "v2": use v1',
        ),
        ("type: state.redis", "spec.metadata: redisHost is required by state.redis"),
        (
            "type: state.redis\nmetadata: [{name: redisHost, value: ''}]",
            "spec.metadata: redisHost is required by state.redis",
        ),
        (
            "type: state.redis\nmetadata: [{name: redisHots, value: 'r:6379'}]",
            (
                'spec.metadata[0].name: "redisHots" is unknown to state.redis, '
                'did you mean "redisHost"?'
            ),
        ),
        (
            REDIS + "- {name: dialTimeout, value: 5 sec}",
            (
                'spec.metadata[1].value: dialTimeout is "5 sec": invalid duration "5 sec": '
                "expected a Go duration such as 500ms or 1m30s"
            ),
        ),
        (
            REDIS + "- {name: enableTLS, value: ture}",
            'spec.metadata[1].value: enableTLS is "ture": expected true or false',
        ),
        (
            REDIS + "- {name: redisDB, value: one}",
            'spec.metadata[1].value: redisDB is "one": expected a whole number',
        ),
        (
            REDIS + "- {name: actorStateStore, value: yess}",
            'spec.metadata[1].value: actorStateStore is "yess": expected true or false',
        ),
        (
            REDIS + "- {name: redisPassword, secretKeyRef: {key: k}}",
            "spec.metadata[1].secretKeyRef.name: is required",
        ),
        (
            REDIS + "- {name: redisPassword, envRef: DAPR_API_TOKEN}",
            'spec.metadata[1].envRef: "DAPR_API_TOKEN" is a variable that components may not read',
        ),
        (
            REDIS + "- {name: redisPassword, envRef: A B}",
            'spec.metadata[1].envRef: "A B" is no name of an environment variable',
        ),
        (
            REDIS + "- {name: REDISHOST, value: 'other:6379'}",
            'spec.metadata[1].name: "REDISHOST" is there twice, with different values',
        ),
        (REDIS + "- {value: x}", "spec.metadata[1].name: is required"),
        (REDIS + "initTimeout: soon", 'spec.initTimeout: invalid duration "soon"'),
        (REDIS + "initTimeout: -1s", 'spec.initTimeout: "-1s" must be more than 0'),
        ("type: state.in-memory\nmetadata: text", "spec.metadata: expected a list"),
        (
            "type: bindings.cron\nmetadata: [{name: shedule, value: '@daily'}]",
            (
                'spec.metadata[0].name: "shedule" is unknown to bindings.cron, '
                'did you mean "schedule"?'
            ),
        ),
        (
            "type: middleware.http.ratelimits",
            (
                'spec.type: unknown type "middleware.http.ratelimits", '
                'did you mean "middleware.http.ratelimit"?'
            ),
        ),
    ],
)
def test_what_is_refused(said: Said, spec: str, message: str) -> None:
    [found] = said("Component", spec)
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "type: state.mine",
            (
                'spec.type: "state.mine" is no type that comes with the sidecar: '
                "a pluggable component has to bring it"
            ),
        ),
        ("type: bindings.fax", 'spec.type: "bindings.fax" is no type'),
        ("type: conversation.openai", 'spec.type: "conversation.openai" is no type'),
        (
            REDIS + "- {name: redisColour, value: '10'}",
            'spec.metadata[1].name: "redisColour" is unknown to state.redis and has no effect',
        ),
        (
            REDIS + "- {name: redisHost, value: 'r:6379'}",
            'spec.metadata[1].name: "redisHost" is there twice',
        ),
        (
            REDIS + "- {name: redisPassword, value: geheim}",
            "spec.metadata[1].value: redisPassword is a secret: give it by secretKeyRef",
        ),
        (
            REDIS + "- {name: redisPassword, value: '', secretKeyRef: {name: s, key: k}}",
            "spec.metadata[1]: value and secretKeyRef are both given, only value counts",
        ),
    ],
)
def test_what_is_only_told(said: Said, spec: str, message: str) -> None:
    [found] = said("Component", spec)
    assert found.startswith(f"warning: {message}")
    assert "geheim" not in found


@pytest.mark.parametrize(
    "spec",
    [
        REDIS,
        "type: State.Redis\nversion: v0\nmetadata: [{name: REDISHOST, value: r}]",
        REDIS + "- {name: redisDB, value: 3}\n- {name: enableTLS, value: true}",
        REDIS + "- {name: dialTimeout, value: '5'}\n- {name: readTimeout, value: 1m30s}",
        REDIS + "- {name: redisDB, value: '{appID}'}",
        REDIS + "- {name: redisDB, envRef: REDIS_DB}",
        "type: state.redis\nmetadata: [{name: redisHost, secretKeyRef: {name: s, key: k}}]",
        (
            "type: pubsub.redis\nmetadata:\n"
            "- {name: redisHost, value: r}\n- {name: consumerID, value: '{uuid}'}"
        ),
        "type: state.in-memory",
    ],
)
def test_what_is_fine(said: Said, spec: str) -> None:
    assert said("Component", spec) == []


def test_secrets_are_not_shown(said: Said) -> None:
    spec = REDIS + "- {name: sentinelPassword, value: geheim}"
    assert "geheim" not in " ".join(said("Component", spec))


def test_several_at_once(said: Said) -> None:
    spec = "type: state.redis\nmetadata: [{name: redisDB, value: x}]\ninitTimeout: x"
    paths = [text.partition(": ")[0] for text in said("Component", spec)]
    assert paths == ["spec.initTimeout", "spec.metadata[0].value", "spec.metadata"]
