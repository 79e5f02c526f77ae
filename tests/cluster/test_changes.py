"""What is applied reaches running sidecars; what no sidecar could load is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cluster.applications import Space, component
from cluster.kubectl import CommandError, get

Until = Callable[[Callable[[], bool], float, str], float]


def test_a_component_reaches_a_running_sidecar(space: Space) -> None:
    space.app("app")
    (before,) = space.pods("app")
    assert space.call("app", "GET", "/v1.0/state/late/key")[0] == 500  # no such store

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(space.await_status, "app", "/v1.0/state/late/key", 204, 20)
        time.sleep(2.0)  # let it ask in vain
        space.apply(component("late", "state.in-memory"))
        applied = time.time()
        used = asking.result(timeout=60)
    print(f"used {used - applied:.3f} s after kubectl apply came back")
    assert used - applied < 1.0

    (after,) = space.pods("app")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert all(status["restartCount"] == 0 for status in after["status"]["containerStatuses"])


def test_the_status_of_a_component_says_where_it_is_loaded(space: Space, until: Until) -> None:
    space.apply(component("memory", "state.in-memory"))
    space.app("app")

    def told() -> bool:
        return bool(get("component", "memory", "-n", space.name).get("status"))

    until(told, 30, "the status is written")


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (component("wrong", "state.redis", redisHots="redis:6379"), "redisHots"),
        (component("wrong", "state.rediss", redisHost="redis:6379"), "spec.type"),
    ],
)
def test_what_no_sidecar_could_load_is_refused(
    space: Space, broken: dict[str, object], named: str
) -> None:
    with pytest.raises(CommandError) as refused:
        space.apply(broken)
    assert named in str(refused.value)
