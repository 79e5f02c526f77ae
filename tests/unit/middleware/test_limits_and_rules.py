"""Rate limits, and rules for paths."""

from __future__ import annotations

import pytest
from harness.pipeline import Wrapped
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.http.messages import Request
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.middleware.patterns import PathFilter
from dapr_sidecar.components.middleware.ratelimit import (
    Buckets,
    RateLimitMiddleware,
    client_address,
)
from dapr_sidecar.components.middleware.routerchecker import RouterCheckerMiddleware

# --- rate limit -----------------------------------------------------------------------------------


def test_a_bucket_fills_with_time() -> None:
    buckets = Buckets(2.0)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert [buckets.take("a", 0.5), buckets.take("a", 0.5)] == [True, False]
    assert [buckets.take("a", 99.0) for _ in range(3)] == [True, True, False]


def test_less_than_one_a_second() -> None:
    buckets = Buckets(0.5)
    assert [buckets.take("a", now) for now in (0.0, 1.0, 1.9, 2.0)] == [True, False, False, True]


@given(
    st.floats(0.5, 50),
    st.lists(st.floats(0, 0.5, allow_nan=False), min_size=1, max_size=100),
)
def test_never_more_than_the_rate(rate: float, gaps: list[float]) -> None:
    buckets, now, taken = Buckets(rate), 0.0, 0
    for gap in gaps:
        now += gap
        taken += buckets.take("a", now)
    assert taken <= max(1.0, rate) + rate * now + 1e-6


def test_clients_are_apart_and_the_oldest_is_forgotten() -> None:
    buckets = Buckets(1.0, most_clients=3)
    for client in "abcab":
        buckets.take(client, 0.0)
    assert not buckets.take("c", 0.0)  # not yet forgotten
    for client in "de":
        buckets.take(client, 0.0)
    assert len(buckets) == 3
    assert not buckets.take("c", 0.0)
    assert buckets.take("a", 0.0)


async def test_over_the_limit(piped: Wrapped) -> None:
    pipe = await piped(RateLimitMiddleware, maxRequestsPerSecond="0.001")
    assert (await pipe.call()).status == 200
    refused = await pipe.call(peer="127.0.0.1:6000")
    assert refused.status == 429
    assert refused.headers["content-type"].startswith("text/plain")
    assert b"limit" in refused.body
    assert (await pipe.call(x_real_ip="10.0.0.1")).status == 200
    assert (await pipe.call(x_forwarded_for="10.0.0.1, 10.9.9.9")).status == 429


@pytest.mark.parametrize(
    ("headers", "peer", "client"),
    [
        ({}, "10.0.0.9:1", "10.0.0.9"),
        ({}, "::1:5", "::1"),
        ({}, "", ""),
        ({"x-forwarded-for": " 10.0.0.1 , 10.0.0.2"}, "10.0.0.9:1", "10.0.0.1"),
        ({"x-forwarded-for": "2001:DB8::0:1", "x-real-ip": "10.0.0.3"}, "", "2001:db8::1"),
        ({"x-forwarded-for": "x" * 9000, "x-real-ip": "10.0.0.3"}, "", "10.0.0.3"),
        ({"x-forwarded-for": "unknown", "x-real-ip": "-"}, "10.0.0.9:1", "10.0.0.9"),
    ],
)
def test_whose_request_it_is(headers: dict[str, str], peer: str, client: str) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert client_address(Request("GET", b"/", b"", pairs, peer=peer)) == client


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "many"])
async def test_rates_of_no_use(piped: Wrapped, rate: str) -> None:
    with pytest.raises(SettingsError, match=r"maxRequestsPerSecond.*above 0"):
        await piped(RateLimitMiddleware, maxRequestsPerSecond=rate)


async def test_a_hundred_unless_said_otherwise(piped: Wrapped) -> None:
    pipe = await piped(RateLimitMiddleware)
    found = [(await pipe.call()).status for _ in range(102)]
    assert found[:100] == [200] * 100


# --- router checker -------------------------------------------------------------------------------

RULE = "^[A-Za-z0-9/._-]+$"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1.0/invoke/demo/method/method", 200),
        ("/v1.0/invoke/demo.default/method/user-info", 200),
        ("/v1.0/invoke/demo.default/method/cat%20password", 400),
        ('/v1.0/invoke/demo.default/method/"%20AND%204210=4210%20limit%201', 400),
        ('/v1.0/invoke/demo.default/method/"$(curl', 400),
        ("/v1.0/invoke/demo.default/method/m%0A", 400),
        ("/v1.0/invoke/demo.default/method/%zz", 400),
        ("/v1.0/invoke/demo.default/method/%ff", 400),
        ("/a?q=anything at all!", 200),
    ],
)
async def test_the_documented_rule(piped: Wrapped, path: str, status: int) -> None:
    pipe = await piped(RouterCheckerMiddleware, rule=RULE)
    assert (await pipe.call(path)).status == status


async def test_no_spelling_gets_around_a_rule(piped: Wrapped) -> None:
    pipe = await piped(RouterCheckerMiddleware, rule=r"^/public(/|\z)")
    assert (await pipe.call("/public/a")).status == 200
    assert (await pipe.call("//public")).status == 200
    assert (await pipe.call("/public/../secret")).status == 400
    assert (await pipe.call("/secret?/public")).status == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1.0/invoke/a/method/public/x", 200),
        ("/v1.0/invoke/a/method//public%2Fx", 200),
        ("/v1.0/invoke/a/method/%2F%2Fpublic%2F", 200),
        ("/v1.0/invoke/a/method/public/%2e%2e/secret", 400),
        ("/v1.0/invoke/a/method/public%2F..%2Fsecret", 400),
        ("/v1.0/invoke/a/method/public/x/%2e%2e/%2E%2E/secret", 400),
        ("/v1.0/invoke/a/method/public/%2e", 400),
        ("/v1.0/invoke/%2561/method/public", 400),
        ("/v1.0/invoke/a/method/public/100%25", 200),
    ],
)
async def test_what_is_resolved_after_decoding_is_no_way_around(
    piped: Wrapped, path: str, status: int
) -> None:
    rule = r"^/v1\.0/invoke/[^/]+/method/public(/|\z)"
    pipe = await piped(RouterCheckerMiddleware, rule=rule)
    assert (await pipe.call(path)).status == status


async def test_rules_are_linear_in_the_path(piped: Wrapped) -> None:
    pipe = await piped(RouterCheckerMiddleware, rule="^(/?[a-z]+)+$")
    assert (await pipe.call("/" + "a" * 5000 + "!")).status == 400  # Python's would never end


@pytest.mark.parametrize("rule", ["(", "(?=a)", r"(a)\1", "[z-a]"])
async def test_rules_of_no_use(piped: Wrapped, rule: str) -> None:
    with pytest.raises(ValueError, match=r"'rule'.*Go's syntax") as error:
        await piped(RouterCheckerMiddleware, rule=rule)
    assert rule in str(error.value)


def test_path_filters() -> None:
    def takes(text: str, path: bytes) -> bool:
        return PathFilter(text).takes(Request("GET", path, b"", []))

    assert takes("", b"/anything")
    assert takes(".*/users/.*", b"/v1.0/invoke/app/method/%75sers/1")
    assert takes(".*/users/.*", b"/x/../users//1")
    assert not takes(".*/users/.*", b"/v1.0/healthz")
    assert takes("^/users", b"/x/%2e%2e/users")
    assert takes("^/users", b"/%zz")  # what is no path at all does not get past
