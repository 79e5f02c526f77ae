from __future__ import annotations

import math
from typing import Any

import pytest
from harness.prometheus_text import labels, samples
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.observe import metrics as metrics_module
from dapr_common.observe.metrics import LATENCY_BUCKETS, SIZE_BUCKETS, Registry

# The parser knows no escape for other line ends; Prometheus' own reads them as they are.
LINE_ENDS = "\r\x85\u2028\u2029\v\f\x1c\x1d\x1e"
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=LINE_ENDS))


def test_a_counter_in_the_text_format() -> None:
    registry = Registry((("app_id", "a1"),))
    registry.counter("dapr_x_total", ("kind",), "how\nmany \\").at('q"\\\n').add(2)
    assert registry.render().decode().splitlines()[:3] == [
        "# HELP dapr_x_total how\\nmany \\\\",
        "# TYPE dapr_x_total counter",
        'dapr_x_total{app_id="a1",kind="q\\"\\\\\\n"} 2',
    ]


def test_labels_are_sorted_as_other_exporters_do_it() -> None:
    registry = Registry((("app_id", "a"),))
    registry.counter("x", ("zebra", "aardvark")).at("1", "2").add()
    assert 'x{aardvark="2",app_id="a",zebra="1"} 1' in registry.render().decode()


@given(st.dictionaries(st.tuples(TEXT, TEXT), st.integers(0, 2**53), max_size=8))
def test_every_label_value_survives_the_text(values: dict[tuple[str, str], int]) -> None:
    registry = Registry((("app_id", "a"),))
    family = registry.counter("dapr_n", ("one", "two"))
    for pair, value in values.items():
        family.at(*pair).add(value)
    found = samples(registry).get("dapr_n", {})
    assert found == {labels(app_id="a", one=a, two=b): float(v) for (a, b), v in values.items()}


@given(st.lists(st.floats(0, 1e6), max_size=50))
def test_a_histogram_is_cumulative(values: list[float]) -> None:
    registry = Registry()
    histogram = registry.histogram("h", bounds=(1, 5, 100))
    for value in values:
        histogram.at().observe(value)
    found = samples(registry)
    if not values:
        assert "h_count" not in found
        return
    for bound, text in ((1, "1"), (5, "5"), (100, "100"), (math.inf, "+Inf")):
        assert found["h_bucket"][labels(le=text)] == sum(value <= bound for value in values)
    assert found["h_count"][labels()] == len(values)
    assert found["h_sum"][labels()] == pytest.approx(sum(values))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.0, "1"), (1.5, "1.5"), (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN")],
)
def test_numbers(value: float, shown: str) -> None:
    registry = Registry()
    registry.gauge("g").at().set(value)
    assert f"\ng {shown}\n" in registry.render().decode()


def test_a_family_without_records_is_not_shown() -> None:
    registry = Registry()
    registry.counter("dapr_silent")
    assert b"dapr_silent" not in registry.render()


def test_a_family_defined_twice_is_one() -> None:
    registry = Registry()
    registry.counter("c", ("a",)).at("x").add()
    registry.counter("c", ("a",)).at("x").add()
    assert samples(registry)["c"] == {labels(a="x"): 2}
    with pytest.raises(ValueError, match="metric c is already defined in another way"):
        registry.counter("c", ("b",))
    with pytest.raises(ValueError, match="already defined"):
        registry.gauge("c", ("a",))


def test_the_wrong_number_of_label_values_is_a_defect() -> None:
    with pytest.raises(ValueError, match="c: expected values for"):
        Registry().counter("c", ("a",)).at("x", "y")


def test_a_bound_series_is_the_same_object() -> None:
    family = Registry().counter("c", ("a",))
    assert family.at("x") is family.at("x")


def test_label_sets_past_the_bound_share_one_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "MAX_SERIES", 3)
    registry = Registry()
    family = registry.counter("c", ("a",))
    for number in range(10):
        family.at(str(number)).add()
    found = samples(registry)["c"]
    assert len(found) == 4
    assert found[labels(a="")] == 7


def test_rewritten_labels_share_a_series_and_memory_stays_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics_module, "MAX_SERIES", 5)
    registry = Registry((), lambda metric, label, value: f"{metric}/{label}")
    family = registry.counter("c", ("a",))
    for number in range(20):
        family.at(str(number)).add()
    assert samples(registry)["c"] == {labels(a="c/a"): 20}
    assert len(family._bound) == 5


@pytest.mark.parametrize("rules", [None, lambda metric, label, value: value])
def test_long_values_are_cut_before_anything_keeps_them(rules: Any) -> None:
    registry = Registry((), rules)
    family = registry.counter("c", ("a", "b"))
    for number in range(3):
        family.at("x" * 1_000_000, f"{'y' * 256}{number}").add()
    assert samples(registry)["c"] == {labels(a="x" * 256, b="y" * 256): 3}
    assert all(len(value) <= 256 for values in family._bound for value in values)
    if rules is None:
        family.forget("x" * 1_000_000, "y" * 300)
        assert "c" not in samples(registry)


def test_the_process_tells_about_itself() -> None:
    found = samples(Registry())
    for name in ("resident_memory_bytes", "virtual_memory_bytes", "open_fds", "max_fds"):
        assert found[f"process_{name}"][labels()] > 0
    for name in ("cpu_seconds", "network_receive_bytes", "virtual_memory_max_bytes"):
        assert found[f"process_{name}"][labels()] >= 0
    assert found["process_start_time_seconds"][labels()] > 1e9
    assert len(found["python_gc_collections"]) == 3
    assert len(found["python_info"]) == 1


def test_bucket_bounds_are_those_of_the_reference() -> None:
    assert (
        *(1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250),
        *(300, 400, 500, 650, 800, 1000, 2000, 5000, 10000, 20000, 50000, 100000),
    ) == LATENCY_BUCKETS
    kibi = (1, 2, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304)
    assert tuple(n * 1024 for n in kibi) == SIZE_BUCKETS
