from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_sidecar.telemetry.base import MetricsError
from dapr_sidecar.telemetry.paths import PathLabels, collapsed
from dapr_sidecar.telemetry.patterns import Patterns

COLLAPSED = [
    ("/v1.0/state/st", "/v1.0/state/st"),
    ("/v1.0/state/st/key", "/v1.0/state/st"),
    ("/v1.0/state/st/a/b/c", "/v1.0/state/st"),
    ("/v1.0-alpha1/state/st/query", "/v1.0-alpha1/state/st"),
    ("/v1.0/secrets/vault/name", "/v1.0/secrets/vault"),
    ("/v1.0/actors/T/1/method/m", "/v1.0/actors/T/{id}/method"),
    ("/v1.0/actors/T/1/state", "/v1.0/actors/T/{id}/state"),
    ("/v1.0/actors/T/1/reminders/r", "/v1.0/actors/T/{id}/reminders"),
    ("/v1.0/actors/T/1", "/v1.0/actors/T/1"),
    ("/actors/T/1/method/m", "/actors/T/{id}/method/m"),
    ("actors/T/1/method/m", "actors/T/{id}/method/m"),
    ("actors/T/1/method/remind/r", "actors/T/{id}/method/remind/r"),
    ("actors/T", "actors/T"),
    ("/v1.0/workflows/dapr/17", "/v1.0/workflows/dapr/{instanceId}"),
    ("/v1.0/workflows/dapr/W/start", "/v1.0/workflows/dapr/W/start"),
    ("/v1.0/workflows/dapr/17/pause", "/v1.0/workflows/dapr/{instanceId}/pause"),
    (
        "/v1.0/workflows/dapr/17/raiseEvent/e",
        "/v1.0/workflows/dapr/{instanceId}/raiseEvent/{eventName}",
    ),
    ("/v1.0/workflows/dapr", "/v1.0/workflows/dapr"),
    ("/v1.0/invoke/a2/method/orders/17", "/v1.0/invoke/a2/method/orders/17"),
    ("/v1.0/publish/ps/t", "/v1.0/publish/ps/t"),
    ("/v1.0/metadata", "/v1.0/metadata"),
    ("/", "/"),
    ("", ""),
]


@pytest.mark.parametrize(("path", "label"), COLLAPSED)
def test_variable_parts_are_taken_out(path: str, label: str) -> None:
    assert collapsed(path) == label
    assert PathLabels({}).server(path) == label
    assert PathLabels({"increasedCardinality": True}).client(path) == label


@given(st.lists(st.sampled_from(["v1.0", "state", "actors", "workflows", "", "x"]), max_size=6))
def test_any_path_has_a_label(segments: list[str]) -> None:
    assert isinstance(collapsed("/".join(segments)), str)


def test_low_cardinality_knows_static_paths_of_the_app_only() -> None:
    paths = PathLabels({"increasedCardinality": False})
    for path in ("/dapr/config", "/dapr/metrics", "/dapr/subscribe", "/healthz"):
        assert paths.client(path) == path
        assert paths.server(path) == ""
    assert paths.client("/orders") == ""
    assert paths.server("/v1.0/state/st") == ""


def test_matching_with_low_cardinality() -> None:
    paths = PathLabels(
        {"increasedCardinality": False, "pathMatching": ["/orders/{id}", "/v1.0/invoke/b/x"]}
    )
    assert paths.client("/orders/17") == "/orders/{id}"
    assert paths.server("/v1.0/invoke/a2/method/orders/17") == (
        "/v1.0/invoke/{app_id}/method/orders/{id}"
    )
    assert paths.server("/v1.0/invoke/b/x") == "/v1.0/invoke/b/x"
    assert paths.server("/v1.0/state/st/key") == ""
    assert paths.client("/else") == ""


def test_matching_with_high_cardinality() -> None:
    paths = PathLabels({"increasedCardinality": True, "pathMatching": ["/orders/{id}"]})
    assert paths.client("/orders/17") == "/orders/{id}"
    assert paths.client("/orders/17/items") == "/orders/17/items"
    assert paths.server("/v1.0/state/st/key") == "/v1.0/state/st"


def test_a_slash_takes_everything() -> None:
    paths = PathLabels({"increasedCardinality": False, "pathMatching": ["/", "/a"]})
    assert paths.client("/a") == "/a"
    assert paths.client("/b/c") == "/"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT"])
def test_methods(method: str) -> None:
    assert PathLabels({}).method(method) == method
    assert PathLabels({"excludeVerbs": True}).method(method) == ""


@pytest.mark.parametrize("method", ["QUERY", "get", ""])
def test_methods_that_are_none(method: str) -> None:
    assert PathLabels({}).method(method) == "UNKNOWN"


@given(st.sampled_from([path for path, _ in COLLAPSED]), st.booleans())
def test_a_key_has_the_label_of_its_path(path: str, increased: bool) -> None:
    paths = PathLabels({"increasedCardinality": increased})
    assert paths.server(paths.key(path.encode()).decode()) == paths.server(path)


def test_keys_of_a_store_are_one_key() -> None:
    paths = PathLabels({})
    assert paths.key(b"/v1.0/state/st/a") == paths.key(b"/v1.0/state/st/b") == b"/v1.0/state/st"


@pytest.mark.parametrize("increased", [True, False])
@pytest.mark.parametrize(
    "path",
    ["/v1.0/actors/T/1/method/m", "/v1.0/actors/T/1/state/k", "/v1.0/actors/T/1", "/v1.0/actors/"],
)
def test_actors_of_a_type_are_one_key(path: str, increased: bool) -> None:
    paths = PathLabels({"increasedCardinality": increased})
    assert paths.server(paths.key(path.encode()).decode()) == paths.server(path)
    other = path.replace("/1", "/other")
    if path.count("/") > 4:
        assert paths.key(path.encode()) == paths.key(other.encode())


@pytest.mark.parametrize("path", ["/actors/T/1/method/a/b", "/actors/T/1", "/actors/T", "/x/1"])
def test_actors_of_a_type_are_one_key_towards_the_app(path: str) -> None:
    paths = PathLabels({})
    assert paths.client(paths.client_key(path)) == paths.client(path)
    if path.count("/") > 2 and path.startswith("/actors/"):
        assert paths.client_key(path) == paths.client_key(path.replace("/1", "/2"))


# --- patterns -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("/a", "/a", True),
        ("/a", "/a/", False),
        ("/a", "/a/b", False),
        ("/a/", "/a/", True),
        ("/a/", "/a/b/c", True),
        ("/a/", "/a", False),
        ("/a/{$}", "/a/", True),
        ("/a/{$}", "/a/b", False),
        ("/{$}", "/", True),
        ("/{$}", "/a", False),
        ("/a/{id}", "/a/1", True),
        ("/a/{id}", "/a/", False),
        ("/a/{id}", "/a/1/2", False),
        ("/a/{id}/b", "/a/1/b", True),
        ("/a/{id}/b", "/a/1/c", False),
        ("/a/{rest...}", "/a/1/2", True),
        ("/a/{rest...}", "/a/", True),
        ("/a/{rest...}", "/b/1", False),
    ],
)
def test_patterns_as_gos_mux_reads_them(pattern: str, path: str, fits: bool) -> None:
    assert Patterns([pattern]).find(path) == (pattern if fits else None)


def test_the_most_specific_pattern_wins() -> None:
    patterns = Patterns(["/", "/a/{rest...}", "/a/{id}", "/a/b", "/a/{id}/c"])
    assert patterns.find("/a/b") == "/a/b"
    assert patterns.find("/a/x") == "/a/{id}"
    assert patterns.find("/a/x/c") == "/a/{id}/c"
    assert patterns.find("/a/x/d") == "/a/{rest...}"
    assert patterns.find("/z") == "/"


@pytest.mark.parametrize(
    "pattern", ["", "a", "GET /a", "/a{id}", "/{id}x", "/{}", "/{a b}", "/{rest...}/x", "/{$}/x"]
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(MetricsError, match="invalid path pattern"):
        PathLabels({"pathMatching": [pattern]})


@given(st.text())
def test_any_path_is_looked_up(path: str) -> None:
    assert Patterns(["/"]).find("/" + path) == "/"
