"""What placement's own times allow a sidecar to rely on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_sidecar.blocks.actors.placement_bounds import ROUND, SILENCE, PlacementBounds, bounds_of


def test_with_the_default_flags() -> None:
    default = PlacementBounds()
    assert (default.lease(pings=True), default.lease(pings=False)) == (3.0, 4.5)
    assert (default.ping, default.answer) == (1.0, 7.0)


@given(silence=st.floats(2.0, 20.0), round_=st.floats(0.1, 600.0))
def test_a_sidecar_stops_to_own_before_placement_gives_its_actors_away(
    silence: float, round_: float
) -> None:
    bounds = PlacementBounds(silence, round_)
    assert 2 * bounds.ping < bounds.lease(pings=True) < 0.7 * silence
    assert bounds.lease(pings=True) <= 3.0
    assert bounds.lease(pings=False) < silence
    assert bounds.answer < 0.9 * round_


def test_what_placement_says() -> None:
    said = [("server", "x"), (SILENCE, "2000"), (ROUND, "3500")]
    assert bounds_of(said) == PlacementBounds(2.0, 3.5)


@pytest.mark.parametrize("value", ["", "soon", "-1", "1.5", "²", b"7"])
def test_what_cannot_be_read_is_not_said(value: str | bytes) -> None:
    assert bounds_of([(SILENCE, value), (ROUND, value)]) == PlacementBounds()
    assert bounds_of([]) == PlacementBounds()
