"""When actors become idle."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dapr_sidecar.blocks.actors.idle import IdleWheel


def test_nothing_is_due_early_and_everything_soon_after() -> None:
    wheel: IdleWheel[str] = IdleWheel()
    wheel.put("a", 10.0)
    assert wheel.next_due is not None
    assert 10.0 < wheel.next_due <= 10.25
    assert wheel.take(10.0, lambda _: 10.0) == []
    assert wheel.take(wheel.next_due, lambda _: 10.0) == ["a"]
    assert wheel.next_due is None


def test_what_was_used_meanwhile_comes_later_and_what_is_gone_never() -> None:
    wheel: IdleWheel[str] = IdleWheel()
    due: dict[str, float | None] = {"used": 20.0, "gone": None, "idle": 10.0}
    for name in due:
        wheel.put(name, 10.0)
    assert wheel.take(11.0, due.__getitem__) == ["idle"]
    assert wheel.take(19.9, due.__getitem__) == []
    assert wheel.take(20.5, due.__getitem__) == ["used"]


@given(st.lists(st.floats(0, 100), max_size=50), st.floats(0.3, 10))
def test_each_comes_out_once_and_in_time(dues: list[float], step: float) -> None:
    wheel: IdleWheel[int] = IdleWheel()
    for number, due in enumerate(dues):
        wheel.put(number, due)
    now, found = 0.0, []
    while wheel.next_due is not None:
        now += step
        for number in wheel.take(now, dues.__getitem__):
            assert dues[number] <= now <= dues[number] + 0.25 + step + 1e-9
            found.append(number)
    assert sorted(found) == list(range(len(dues)))
