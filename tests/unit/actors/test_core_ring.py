"""The ring must be every sidecar's: golden vectors of the reference, and own ones kept here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dapr_sidecar.blocks.actors.ring import Ring, VirtualNodes, ring_hash

ROOT = Path(__file__).resolve().parents[3]
KEPT = json.loads((ROOT / "tests/golden/actors/ring.json").read_text(encoding="utf-8"))
_REFERENCE = ROOT.parent / "shared/reference/contract/placement-golden.json"
GOLDEN: dict[str, Any] = (
    json.loads(_REFERENCE.read_text(encoding="utf-8")) if _REFERENCE.exists() else {}
)


def ring_of(case: dict[str, Any]) -> Ring:
    return Ring([host["name"] for host in case["hosts"]], case["replicationFactor"])


def test_kept_hashes() -> None:
    assert {text: str(ring_hash(text)) for text in KEPT["hashes"]} == KEPT["hashes"]


@pytest.mark.parametrize("case", KEPT["vectors"], ids=lambda case: case["name"])
def test_kept_owners(case: dict[str, Any]) -> None:
    ring = ring_of(case)
    assert {key: ring.owner(key) for key in case["owners"]} == case["owners"]


@pytest.mark.skipif(not GOLDEN, reason="the reference is not there")
def test_reference_hashes() -> None:
    assert {text: str(ring_hash(text)) for text in GOLDEN["hashes"]} == GOLDEN["hashes"]


@pytest.mark.skipif(not GOLDEN, reason="the reference is not there")
@pytest.mark.parametrize("case", GOLDEN.get("vectors", []), ids=lambda case: case["name"])
def test_reference_vectors(case: dict[str, Any]) -> None:
    ring = ring_of(case)
    places = list(ring._places)
    assert len(ring) == case["ringSize"]
    assert [str(place) for place in places[:8]] == case["firstHashes"]
    assert str(places[-1]) == case["lastHash"]
    assert [[key, ring.owner(key)] for key, _ in case["keys"]] == case["keys"]


def test_a_ring_without_hosts_owns_nothing() -> None:
    assert Ring([], 100).owner("a") is None


def test_a_key_after_the_last_place_belongs_to_the_first() -> None:
    ring = Ring(["a", "b"], 1)
    first, last = sorted(("a", "b"), key=lambda host: ring_hash(f"{host}0"))
    keys = [str(number) for number in range(2000)]
    beyond = [key for key in keys if ring_hash(key) > ring_hash(f"{last}0")]
    assert beyond
    assert {ring.owner(key) for key in beyond} == {first}


def test_a_host_that_leaves_moves_only_its_own_actors() -> None:
    before, after = Ring(["a:1", "b:1", "c:1"], 100), Ring(["a:1", "b:1"], 100)
    for number in range(2000):
        key = f"actor-{number}"
        if before.owner(key) != "c:1":
            assert before.owner(key) == after.owner(key)


def test_virtual_nodes_of_hosts_that_left_are_forgotten() -> None:
    nodes = VirtualNodes()
    Ring(["a", "b"], 10, nodes)
    nodes.keep(frozenset({"a"}))
    assert set(nodes._kept) == {("a", 10)}
