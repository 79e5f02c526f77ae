"""Apps of a run file as Deployments and Services, as golden files have them."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from dapr_cli.errors import CliError
from dapr_cli.kube.runs import manifests
from dapr_cli.kube.runs.objects import marked
from dapr_cli.run_file import parse
from dapr_cli.settings import RunSettings
from dapr_injector.annotations import Annotations

FOLDER = Path(__file__).parent / "runs"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAPR_RUNTIME_PATH", str(tmp_path / "runtime"))
    # It is for sidecars of this machine.
    monkeypatch.setenv("DAPR_PLACEMENT_HOST_ADDRESS", "localhost")
    (tmp_path / "orders" / "res").mkdir(parents=True)
    (tmp_path / "orders" / "config.yaml").write_text("")
    return tmp_path


def app_of(folder: Path, name: str) -> RunSettings:
    text = (FOLDER / f"{name}.dapr.yaml").read_text()
    return parse(text, folder / "dapr.yaml").apps[0]


def app(folder: Path, **more: object) -> RunSettings:
    entry = {"appDirPath": "orders", "containerImage": "x", **more}
    return parse(yaml.safe_dump({"version": 1, "apps": [entry]}), folder / "dapr.yaml").apps[0]


@pytest.mark.parametrize(("name", "configured"), [("full", True), ("least", False)])
def test_what_is_made(name: str, configured: bool, folder: Path) -> None:
    found = app_of(folder, name)
    bodies = [manifests.deployment(found, configured=configured), manifests.service(found)]
    golden = yaml.safe_load_all((FOLDER / f"{name}.manifests.yaml").read_text())
    assert [body for body in bodies if body is not None] == list(golden)
    manifests.check(found)


def test_what_has_no_effect(folder: Path) -> None:
    assert sorted(manifests.without_effect(app_of(folder, "full"))) == [
        "configFilePath",
        "daprHTTPPort",
        "enablePythonComponents",
        "profilePort",
        "resourcesPaths",
    ]
    assert manifests.without_effect(app_of(folder, "least")) == []


def test_every_annotation_is_one_that_the_injector_reads(folder: Path) -> None:
    known = {field.metadata["annotation"].name for field in dataclasses.fields(Annotations)}
    body = manifests.deployment(replace(app_of(folder, "full"), log_as_json=True), configured=True)
    written = body["spec"]["template"]["metadata"]["annotations"]
    assert written["dapr.io/log-as-json"] == "true"
    assert {name.removeprefix("dapr.io/") for name in written} - known == set()


@pytest.mark.parametrize(("given", "counts"), [("/sockets", True), ("sockets", False)])
def test_a_folder_of_this_machine_is_none_of_the_container(
    given: str, counts: bool, folder: Path
) -> None:
    found = app(folder, unixDomainSocket=given)
    body = manifests.deployment(found, configured=False)
    annotations = body["spec"]["template"]["metadata"]["annotations"]
    assert ("dapr.io/unix-domain-socket-path" in annotations) == counts
    assert manifests.without_effect(found) == ([] if counts else ["unixDomainSocket"])


def test_the_file_and_the_line_of_an_app_without_an_image(folder: Path) -> None:
    text = "version: 1\napps:\n- appDirPath: orders\n  containerImage: x\n\n- appDirPath: .\n"
    first, second = parse(f"{text}  appID: b", folder / "dapr.yaml").apps
    manifests.check(first)
    with pytest.raises(CliError) as raised:
        manifests.check(second)
    place = f"{folder}/dapr.yaml, line 6"
    assert raised.value.message == f"{place}: app b: 'containerImage' is required with -k"
    assert "containerImage: registry/name:tag" in raised.value.hint


def test_a_service_needs_a_port(folder: Path) -> None:
    with pytest.raises(CliError, match="line 2: app orders: 'createService' needs 'appPort'"):
        manifests.check(app(folder, createService="true"))


def test_an_app_is_not_called_as_the_sidecar(folder: Path) -> None:
    with pytest.raises(CliError, match="line 2: app daprd: that is the name of the sidecar's"):
        manifests.check(app(folder, appID="daprd"))


def test_marks_are_on_pods_and_not_in_the_selector(folder: Path) -> None:
    body = manifests.deployment(app_of(folder, "least"), configured=False)
    before = yaml.safe_dump(body)
    found = marked(body, "run-1")
    marks = {"app": "orders", "app.kubernetes.io/instance": "run-1"}
    maker = {"app.kubernetes.io/managed-by": "dapr-run"}
    assert found["metadata"]["labels"] == {**marks, **maker}
    assert found["spec"]["template"]["metadata"]["labels"] == marks
    assert found["spec"]["selector"]["matchLabels"] == {"app": "orders"}
    assert yaml.safe_dump(body) == before, "the file has no marks"
