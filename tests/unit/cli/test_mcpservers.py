"""``dapr mcpservers`` on resource files."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from dapr_cli.kube.resources import mcp_server_row

MANIFESTS = Path(__file__).parents[2] / "data" / "manifests"
TABLE = """\
NAME    TRANSPORT       TARGET                       SCOPES
events  sse             http://events:8080/sse
files   stdio           /usr/local/bin/files
search  streamableHTTP  https://mcp.example.com/mcp  shop
"""
NOTHING = "ℹ️  No mcpservers found.\n"  # noqa: RUF001


@pytest.fixture
def resources(tmp_path: Path) -> Path:
    folder = tmp_path / "resources"
    folder.mkdir()
    for name in ("mcpservers.yaml", "components.yaml"):
        shutil.copy(MANIFESTS / name, folder)
    (folder / "notes.txt").write_text("kind: MCPServer")
    return folder


def written() -> dict[str, dict[str, Any]]:
    text = (MANIFESTS / "mcpservers.yaml").read_text(encoding="utf-8")
    return {body["metadata"]["name"]: body for body in yaml.safe_load_all(text)}


@pytest.mark.parametrize("output", [[], ["-o", "table"], ["--output", "list"]])
def test_the_table(output: list[str], dapr, resources: Path) -> None:
    outcome = dapr("mcpservers", "--resources-path", str(resources), *output)
    assert (outcome.code, outcome.out, outcome.err) == (0, TABLE, "")


def test_one_of_them_for_programs(dapr, resources: Path) -> None:
    arguments = ["mcpservers", "--resources-path", str(resources), "-n", "files", "-o"]
    outcome = dapr(*arguments, "json")
    assert (outcome.code, outcome.err) == (0, "")
    expected = [{"name": "files", "namespace": "", "spec": written()["files"]["spec"]}]
    assert outcome.out == json.dumps(expected, indent=2), "no newline at the end"
    assert yaml.safe_load(dapr(*arguments, "yaml").out) == expected


def test_the_components_directory_is_the_default(dapr, home: Path, resources: Path) -> None:
    folder = home / ".dapr" / "components"
    outcome = dapr("mcpservers")
    assert outcome.code == 1
    assert outcome.err.splitlines() == [
        f"❌  the resources path {folder} is not a directory",
        "ℹ️  Name another one with --resources-path, or say -k for those of your cluster.",  # noqa: RUF001
    ]
    shutil.copytree(resources, folder)
    assert dapr("mcpservers").out == TABLE


@pytest.mark.parametrize(("output", "text"), [("table", NOTHING), ("json", "[]"), ("yaml", "[]\n")])
def test_none_of_that_name(output: str, text: str, dapr, resources: Path) -> None:
    outcome = dapr("mcpservers", "--resources-path", str(resources), "-n", "none", "-o", output)
    assert (outcome.code, outcome.out, outcome.err) == (0, text, "")


def test_several_directories_and_namespaces(dapr, resources: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    body = {**written()["files"], "metadata": {"name": "files", "namespace": "shop"}}
    (more / "x.yml").write_text(yaml.safe_dump(body))
    outcome = dapr("mcpservers", "--resources-path", str(resources), f"--resources-path={more}")
    head, *rows = outcome.out.splitlines()
    assert head.split() == ["NAMESPACE", "NAME", "TRANSPORT", "TARGET", "SCOPES"]
    assert rows[0].split() == ["shop", "files", "stdio", "/usr/local/bin/files"]
    assert [row.split()[0] for row in rows[1:]] == ["events", "files", "search"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "bad.yaml (document 1): yaml cannot be parsed: "),
        ("kind: MCPServer", "bad.yaml: a MCPServer has no metadata.name"),
    ],
)
def test_a_file_that_is_wrong_is_named(text: str, message: str, dapr, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    outcome = dapr("mcpservers", "--resources-path", str(tmp_path))
    assert (outcome.code, outcome.out) == (1, "")
    assert f"❌  {tmp_path}/{message}" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_files_or_a_cluster(dapr, resources: Path) -> None:
    outcome = dapr("mcpservers", "-k", "--resources-path", str(resources))
    assert outcome.code == 255
    assert "--resources-path is of this machine: leave it out with -k" in outcome.err
    outcome = dapr("mcpservers", "--namespace", "x", "--resources-path", str(resources))
    assert (outcome.code, outcome.out) == (0, TABLE)
    assert outcome.err == "⚠  --namespace has no effect without -k\n"


@pytest.mark.parametrize("spec", [None, {}, {"endpoint": None}, {"endpoint": {"sse": None}}])
def test_one_without_an_endpoint(spec: dict[str, Any] | None) -> None:
    body = {"metadata": {"name": "x"}, "spec": spec}
    row = mcp_server_row(body, datetime.now(UTC))
    assert (row["TRANSPORT"], row["TARGET"], row["AGE"], row["CREATED"]) == ("", "", "", "")
