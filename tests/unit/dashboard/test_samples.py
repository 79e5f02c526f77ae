"""Numbers of the pages, out of what Prometheus would scrape."""

from __future__ import annotations

import pytest

from dapr_dashboard.history import Point, Rate, point, rates
from dapr_dashboard.samples import Breaker, breakers, component_traffic, http_traffic, parse

TEXT = """\
# TYPE dapr_http_server_request_count counter
dapr_http_server_request_count{app_id="a",method="GET",path="/v1.0/state",status="200"} 8
dapr_http_server_request_count{app_id="a",method="GET",path="/v1.0/state",status="500"} 2
dapr_http_server_request_count{app_id="a",method="GET",path="/v1.0/healthz",status="204"} 99
# TYPE dapr_http_server_latency histogram
dapr_http_server_latency_bucket{app_id="a",method="GET",path="/v1.0/state",le="10"} 8
dapr_http_server_latency_bucket{app_id="a",method="GET",path="/v1.0/state",le="20"} 10
dapr_http_server_latency_bucket{app_id="a",method="GET",path="/v1.0/state",le="+Inf"} 10
dapr_http_server_latency_sum{app_id="a",method="GET",path="/v1.0/state"} 60
dapr_http_server_latency_count{app_id="a",method="GET",path="/v1.0/state"} 10
# TYPE dapr_component_state_count counter
dapr_component_state_count{app_id="a",component="s",operation="get",success="true"} 3
dapr_component_state_count{app_id="a",component="s",operation="get",success="false"} 1
# TYPE dapr_resiliency_cb_state gauge
dapr_resiliency_cb_state{name="r",target="app-b",flow_direction="outbound",status="open"} 1
dapr_resiliency_cb_state{name="r",target="app-b",flow_direction="outbound",status="closed"} 0
"""


def test_traffic() -> None:
    probes, found = http_traffic(parse(TEXT))
    assert (probes.what, probes.count) == ("GET /v1.0/healthz", 99)
    assert (found.what, found.count, found.failed) == ("GET /v1.0/state", 10, 2)
    assert found.mean_ms == 6
    assert found.p95_ms == pytest.approx(17.5)
    (state,) = component_traffic(parse(TEXT))
    assert (state.what, state.count, state.failed, state.mean_ms) == ("state s get", 4, 1, -1)


def test_breakers_are_in_one_state() -> None:
    assert breakers(parse(TEXT)) == [Breaker("r", "app-b", "outbound", "open")]


def test_rates_are_of_neighbours_and_survive_a_restart() -> None:
    points = [Point(0, 10, 100, 10), Point(5, 20, 150, 20), Point(10, 2, 8, 2), Point(12, 4, 8, 2)]
    assert rates(points) == [Rate(2.0, 5.0), Rate(1.0, 0.0)]
    assert point(parse(TEXT), 1.0) == Point(1.0, 10, 60, 10)


def test_what_is_no_metrics() -> None:
    with pytest.raises(ValueError):
        parse("<html>{")
