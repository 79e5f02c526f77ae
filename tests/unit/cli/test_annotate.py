"""``dapr annotate``: manifests before and after, flags, sources, what it refuses."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from dapr_cli.kube.annotate import KINDS, Annotator, ManifestError, Target
from dapr_cli.kube.annotation_flags import FLAGS

FOLDER = Path(__file__).parent / "annotate"


def golden(name: str) -> tuple[str, str]:
    """What goes in and what has to come out."""
    before, after = (FOLDER / f"{name}.{end}.yaml" for end in ("in", "out"))
    return before.read_text(), after.read_text()


@pytest.mark.parametrize(
    ("name", "annotations", "target"),
    [
        ("deployment", {}, Target()),
        ("list", {"dapr.io/app-port": "8000"}, Target()),
        ("documents", {"dapr.io/log-level": "debug"}, Target(name="second", namespace="nights")),
        ("json", {}, Target(namespace="default")),
    ],
)
def test_before_and_after(name: str, annotations: dict[str, str], target: Target) -> None:
    before, after = golden(name)
    annotator = Annotator(annotations, target)
    assert annotator.text(before, "x") == after
    assert annotator.annotated


PLACES = {
    "Pod": ["metadata"],
    "CronJob": ["spec", "jobTemplate", "spec", "template", "metadata"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_workload(kind: str) -> None:
    text = f"kind: {kind}\nmetadata:\n  name: orders\n"
    found = yaml.safe_load(Annotator({}).text(text, "x"))
    for key in PLACES.get(kind, ["spec", "template", "metadata"]):
        found = found[key]
    app_id = f"default-{kind.lower()}-orders"
    assert found["annotations"] == {"dapr.io/enabled": "true", "dapr.io/app-id": app_id}


@pytest.mark.parametrize("text", ["kind: Service\nmetadata: {name: orders}\n", "", "- 1\n", "x"])
def test_what_is_no_workload_stays(text: str) -> None:
    annotator = Annotator({})
    assert yaml.safe_load(annotator.text(text, "x")) == yaml.safe_load(text)
    assert annotator.annotated == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: [", "orders.yaml: yaml cannot be parsed: "),
        ("kind: Pod\nmetadata: {name: a, annotations: [b]}", "pod/a: annotations is not a mapping"),
        ("kind: Job\nmetadata: {name: a}\nspec: 1", "job/a: spec is not a mapping"),
    ],
)
def test_what_cannot_be_annotated(text: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        Annotator({}).text(text, "orders.yaml")
    assert message in str(caught.value)


def test_many_aliases_stay_as_short_as_they_are() -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30)]
    text = "\n".join(["kind: Pod", "metadata: {name: a}", "l0: &l0 [x]", *levels]) + "\n"
    assert len(Annotator({}).text(text, "x")) < 2 * len(text)


# --- the command --------------------------------------------------------------------------------


def annotated(text: str) -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load(text)["spec"]["template"]["metadata"]["annotations"]
    return found


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    path = tmp_path / "orders.yaml"
    path.write_text(golden("deployment")[0])
    return str(path)


def test_flags_become_annotations(dapr, manifest: str) -> None:
    given = ["--app-id", "a", "-p", "80", "--cpu-limit", "1", "--enable-metrics=false"]
    given += ["--log-as-json", "--placement-host-address", "", "--dapr-image", "x/daprd:1"]
    outcome = dapr("annotate", "-k", *given, manifest)
    assert outcome.code == 0, outcome.err
    assert annotated(outcome.out) == {
        "dapr.io/enabled": "true",
        "dapr.io/app-id": "a",
        "dapr.io/app-port": "80",
        "dapr.io/sidecar-cpu-limit": "1",
        "dapr.io/enable-metrics": "false",
        "dapr.io/log-as-json": "true",
        "dapr.io/placement-host-address": "",
        "dapr.io/sidecar-image": "x/daprd:1",
    }
    assert outcome.err == "ℹ️  deployment/orders is annotated\n"  # noqa: RUF001


def test_a_lone_switch_takes_no_value(dapr, manifest: str) -> None:
    outcome = dapr("annotate", "-k", "--enable-api-logging", manifest)
    assert annotated(outcome.out)["dapr.io/enable-api-logging"] == "true"


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.flag)
def test_every_flag(flag, dapr, manifest: str) -> None:
    text = {"integer": "7", "boolean": "true"}.get(flag.type.name, "some text")
    outcome = dapr("annotate", "-k", f"{flag.flag}={text}", manifest)
    assert outcome.code == 0, outcome.err
    assert annotated(outcome.out)[flag.annotation] == text


def test_the_injector_knows_every_annotation() -> None:
    from dapr_injector import annotations as injector

    source = Path(injector.__file__).read_text()
    assert [flag.name for flag in FLAGS if f'"{flag.name}"' not in source] == []


def test_standard_input(dapr, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = golden("deployment")
    monkeypatch.setattr(sys, "stdin", io.StringIO(before))
    outcome = dapr("annotate", "-k", "-")
    assert (outcome.code, outcome.out) == (0, after)


def test_a_directory_is_one_manifest(dapr, tmp_path: Path) -> None:
    folder = tmp_path / "deploy"
    folder.mkdir()
    (folder / "a.yaml").write_text("kind: Service\nmetadata:\n  name: a\n")
    (folder / "b.yml").write_text("kind: Pod\nmetadata:\n  name: b\n")
    (folder / "c.json").write_text(json.dumps({"kind": "Pod", "metadata": {"name": "c"}}))
    (folder / "notes.txt").write_text("kind: [")
    outcome = dapr("annotate", "-k", str(folder))
    assert outcome.code == 0, outcome.err
    service, pod, other = yaml.safe_load_all(outcome.out)
    assert service == {"kind": "Service", "metadata": {"name": "a"}}
    assert pod["metadata"]["annotations"]["dapr.io/app-id"] == "default-pod-b"
    assert other == {"kind": "Pod", "metadata": {"name": "c"}}


@pytest.fixture
def url() -> Iterator[str]:
    """Where the example is served."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = golden("deployment")[0].encode()
            self.send_response(200 if self.path == "/orders.yaml" else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


def test_a_url(dapr, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    outcome = dapr("annotate", "-k", f"{url}/orders.yaml")
    assert (outcome.code, outcome.out) == (0, golden("deployment")[1])
    assert "HTTP Error 404" in dapr("annotate", "-k", f"{url}/other.yaml").err


def test_two_of_a_manifest_one_after_the_other(
    dapr, manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(f"---\nkind: Pod\nmetadata:\n  name: {name}\n" for name in "ab")
    for name in "ab":
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        text = dapr("annotate", "-k", "-r", name, "-a", name, "-").out
    ids = [p["metadata"]["annotations"]["dapr.io/app-id"] for p in yaml.safe_load_all(text)]
    assert ids == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-r", "other"], "there is no workload named 'other' in"),
        (["-n", "other"], "there is no workload in namespace other in"),
    ],
)
def test_nothing_to_annotate(arguments: list[str], message: str, dapr, manifest: str) -> None:
    outcome = dapr("annotate", "-k", *arguments, manifest)
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.out == ""


def test_sources_that_are_not_there(dapr, tmp_path: Path) -> None:
    assert "cannot be read" in dapr("annotate", "-k", str(tmp_path / "none.yaml")).err
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "there are no manifests in" in dapr("annotate", "-k", str(empty)).err
    assert "cannot be fetched" in dapr("annotate", "-k", "http://127.0.0.1:9/x.yaml").err
