"""YAML as Go reads it, and documents that are worth more than they are long."""

from __future__ import annotations

import time

import pytest
import yaml

from dapr_common.kube.manifests import ManifestError, parse_documents, value_text
from dapr_common.kube.yaml_text import MAX_CHARACTERS, YamlTooLargeError, load_yaml


def laughs(kind: str) -> str:
    """Nine levels of nine aliases each."""
    lines = ['a: &a {x: "0123456789"}' if kind == "merge" else 'a: &a ["0123456789"]']
    for name, before in zip("bcdefghij", "abcdefghi", strict=True):
        nine = ", ".join([f"*{before}"] * 9)
        lines.append(
            f"{name}: &{name} " + (f"{{<<: [{nine}]}}" if kind == "merge" else f"[{nine}]")
        )
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10:30", "10:30"),
        ("1:2.5", "1:2.5"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("0x10", 16),
        ("010", 8),
        ("1.5", 1.5),
        ("yes", True),
        ("~", None),
    ],
)
def test_scalars(text: str, value: object) -> None:
    assert load_yaml(f"v: {text}") == {"v": value}


def test_values_as_json_text() -> None:
    texts = [value_text(value) for value in ("a", 5, 1.0, 1.5, True, [1, "x"], {"k": "ü"})]
    assert texts == ["a", "5", "1", "1.5", "true", '[1,"x"]', '{"k":"ü"}']


def test_anchors_and_merge_keys_work() -> None:
    assert load_yaml("a: &x {q: 1}\nb: {<<: *x, z: 2}\nc: *x") == {
        "a": {"q": 1},
        "b": {"q": 1, "z": 2},
        "c": {"q": 1},
    }


@pytest.mark.parametrize(
    "text",
    [
        laughs("list"),
        laughs("merge"),
        "&a [*a]",
        "&a [*a, *a, *a, *a]",
        "[" * 300 + "]" * 300,
        "a0: &a0 [1]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 3000)),
        "x" * (MAX_CHARACTERS + 1),
    ],
    ids=["laughs", "merged laughs", "itself", "itself often", "deep", "chain", "long"],
)
def test_bombs_are_refused_at_once(text: str) -> None:
    started = time.monotonic()
    with pytest.raises(YamlTooLargeError):
        load_yaml(text)
    assert time.monotonic() - started < 20  # written out they would take for ever


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: !!timestamp 5", "'5' is no timestamp"),
        ("a: !!timestamp 2024-99-99", "'2024-99-99' is no timestamp"),
        ("a: !!bool maybe", "'maybe' is no bool"),
        ("a: !!int x", "'x' is no int"),
        ("a: !!int ''", "'' is no int"),
        ("a: !!float x", "'x' is no float"),
        ("a: " + "1" * 5000, "'" + "1" * 60 + "' is no int"),
        ("a: !!timestamp [1]", "scalar"),
        ("a: !!set [1]", "mapping"),
        ("a: !!binary é", "base64|ascii"),
        ("a: \udcff", "not valid UTF-8"),
    ],
)
def test_values_that_are_not_what_their_tag_says(text: str, told: str) -> None:
    with pytest.raises(yaml.YAMLError, match=told):
        load_yaml(text)


def test_nesting_beyond_the_parsers_own_limit_is_an_error_of_the_document() -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml("[" * 100_000)


def test_a_document_of_megabytes_is_read_in_a_moment() -> None:
    text = "v:\n" + "".join(f"- name: n{number}\n" for number in range(20_000))
    started = time.monotonic()
    assert len(load_yaml(text)["v"]) == 20_000
    assert time.monotonic() - started < 30


def test_one_bad_document_does_not_lose_its_neighbours() -> None:
    text = "a: 1\n--- # note\n" + laughs("list") + "\n---\nb: [\n---\nc: 3\n"
    found = list(parse_documents(text, "f.yaml"))
    kinds = [isinstance(one, ManifestError) for one in found]
    assert kinds == [False, True, True, False]
    assert "f.yaml (document 2)" in str(found[1])
