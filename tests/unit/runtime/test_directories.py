"""Resource directories: filters, duplicates, broken files."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from dapr_sidecar.runtime.disk import ResourceDirectories
from dapr_sidecar.runtime.resources import DuplicateResourceError

HEAD = "apiVersion: dapr.io/v1alpha1\n"


def component(name: str, more: str = "", namespace: str = "") -> str:
    place = f", namespace: {namespace}" if namespace else ""
    return (
        f"{HEAD}kind: Component\nmetadata: {{name: {name}{place}}}\n"
        f"spec: {{type: state.in-memory, version: v1}}\n{more}"
    )


def names(directories: ResourceDirectories) -> list[str]:
    return [found.name for found in directories.read().components]


def reading(path: Path, namespace: str = "") -> ResourceDirectories:
    return ResourceDirectories([str(path)], "app1", namespace)


def test_documents_files_and_order(tmp_path: Path) -> None:
    (tmp_path / "2.yml").write_text(component("c") + "--- # next\n" + component("d"))
    (tmp_path / "1.YAML").write_text(f"# nothing\n---\n{component('a')}---\nkind: Pod\n---\n- 1\n")
    (tmp_path / "0.txt").write_text(component("z"))
    (tmp_path / "sub.yaml").mkdir()
    (tmp_path / "3.yaml").symlink_to(tmp_path / "0.txt")
    assert names(reading(tmp_path)) == ["a", "c", "d", "z"]


def test_scopes_and_namespaces(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "---\n".join(
            [
                component("mine", "scopes: [app1, app2]\n"),
                component("theirs", "scopes: [app2]\n"),
                component("here", namespace="n1"),
                component("there", namespace="n2"),
                f"{HEAD}kind: Subscription\nmetadata: {{name: s, namespace: n2}}\nspec: {{}}\n",
                f"{HEAD}kind: Resiliency\nmetadata: {{name: r, namespace: n2}}\nspec: {{}}\n",
            ]
        )
    )
    assert names(reading(tmp_path)) == ["mine", "here", "there"]
    inside = reading(tmp_path, "n1").read()
    assert [found.name for found in inside.components] == ["mine", "here"]
    assert (inside.subscriptions, inside.resiliencies) == ([], [])


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        (component("x"), component("x"), "Component name x (state.in-memory/v1)"),
        *(
            (text, text, f"{kind} name x")
            for kind in ("HTTPEndpoint", "Subscription", "Resiliency")
            for text in [f"{HEAD}kind: {kind}\nmetadata: {{name: x}}\nspec: {{}}\n"]
        ),
    ],
)
def test_duplicates_are_refused(tmp_path: Path, first: str, second: str, shown: str) -> None:
    (tmp_path / "1.yaml").write_text(first)
    (tmp_path / "2.yaml").write_text(second)
    with pytest.raises(DuplicateResourceError, match="duplicate definition of") as caught:
        reading(tmp_path).read()
    assert shown in str(caught.value)


def test_a_resource_of_another_app_is_no_duplicate(tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_text(component("x"))
    (tmp_path / "2.yaml").write_text(component("x", "scopes: [app2]\n"))
    assert names(reading(tmp_path)) == ["x"]


@pytest.mark.parametrize(
    "bad",
    [
        f"{HEAD}kind: Component\nmetadata: {{name: bad}}\nspec: {{type: state.x, metadata: 5}}",
        f"{HEAD}kind: Component\nmetadata: {{name: bad}}\nspec: 5",
        f"{HEAD}kind: Component\nmetadata: {{name: bad}}\nspec: {{metadata: [{{value: 1}}]}}",
        f"{HEAD}kind: Component\nmetadata: {{name: bad}}\nspec: {{ignoreErrors: sometimes}}",
        f"{HEAD}kind: Component\nmetadata: {{name: a/b}}\nspec: {{type: state.in-memory}}",
        f"{HEAD}kind: Component\nmetadata: {{name: ..}}\nspec: {{type: state.in-memory}}",
        f"{HEAD}kind: Component\nmetadata: bad\nspec: {{type: state.in-memory}}",
        f"{HEAD}kind: Component\nmetadata: {{name: bad}}\nscopes: app1\nspec: {{}}",
        "a: [",
        "\ta: 1",
    ],
)
def test_a_bad_document_is_left_out_and_named(
    tmp_path: Path, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "some.yaml").write_text(f"{component('good')}---\n{bad}\n---\n{component('too')}")
    assert names(reading(tmp_path)) == ["good", "too"]
    assert any("some.yaml" in message or "invalid name" in message for message in caplog.messages)


def test_bytes_that_are_no_utf_8_cost_their_document_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = f"{component('bad')}# \udcff\n".encode("utf-8", "surrogateescape")
    (tmp_path / "some.yaml").write_bytes(component("a").encode() + b"---\n" + bad)
    assert names(reading(tmp_path)) == ["a"]
    assert "some.yaml (document 2)" in caplog.text


def test_words_and_numbers_in_text_fields_are_read_as_go_reads_them(tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_text(
        f"{HEAD}kind: Component\nmetadata: {{name: 5}}\nscopes: [app1, 7, on]\n"
        "spec: {type: state.in-memory, version: 1.0, metadata: [{name: yes, value: =}]}\n"
        f"---\n{HEAD}kind: Component\nmetadata: {{name: [bad]}}\nspec: {{type: state.in-memory}}\n"
        f"---\n{HEAD}kind: Subscription\nmetadata: {{name: s}}\n"
        "spec: {pubsubname: ps, topic: on, route: <<}\n"
    )
    found = reading(tmp_path).read()
    (one,) = found.components
    assert (one.name, one.version, one.scopes) == ("5", "1", ("app1", "7", "true"))
    assert [(entry.name, entry.value) for entry in one.metadata] == [("true", "=")]
    (subscription,) = found.subscriptions
    assert (subscription.topic, subscription.default_route) == ("true", "<<")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x00"])
def test_a_file_that_is_no_text_is_left_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "0.yaml").write_bytes(content)
    (tmp_path / "1.yaml").write_text(component("a"))
    assert names(reading(tmp_path)) == ["a"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0.yaml")
    assert names(reading(tmp_path)) == []


def test_a_file_that_breaks_keeps_standing_for_what_it_held(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(component("a"))
    directories = reading(tmp_path)
    assert names(directories) == ["a"]
    file.write_text("kind: [")
    assert names(directories) == ["a"]
    assert "what it held before stays" in caplog.text
    file.write_text(component("b"))
    assert names(directories) == ["b"]
    file.unlink()
    assert names(directories) == []


def test_a_file_that_was_broken_from_the_start_gives_what_is_good_in_it(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"a: [\n---\n{component('a')}")
    directories = reading(tmp_path)
    assert names(directories) == ["a"]
    file.write_text(f"a: [\n---\n{component('b')}")
    assert names(directories) == ["b"]


def test_what_stays_wrong_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "c.yaml").write_text("a: [")
    directories = reading(tmp_path)
    directories.read()
    directories.read()
    assert len(caplog.messages) == 1
    (tmp_path / "c.yaml").write_text("b: 1\nc: ]")
    directories.read()
    assert len(caplog.messages) == 2


def test_a_missing_directory_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        reading(tmp_path / "no").read()
