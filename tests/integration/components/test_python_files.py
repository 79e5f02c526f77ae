"""Components in Python files, in a real sidecar: each kind, reload, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.app import RecordingApp
from harness.http_call import acall, call
from harness.pluggable import EXAMPLES
from harness.sidecar import Manifest, Sidecar, component, resource

ON = ("--enable-python-components", f"--python-components-path={EXAMPLES / 'python'}")
VALUE = """
from dapr_sidecar.components.secretstores.base import SecretStore

class Constant(SecretStore):
    async def get(self, name, metadata):
        return {{name: "{value}"}}

    async def bulk_get(self, metadata):
        return {{}}
"""


def write(sidecar: Sidecar, name: str, *manifests: Manifest) -> None:
    partial = sidecar.folder / "partial"
    partial.write_text(yaml.safe_dump_all(manifests))
    partial.replace(sidecar.resources_path / f"{name}.yaml")


def examples(folder: Path) -> list[Manifest]:
    """The example's manifests, with paths of this test."""
    found = list(yaml.safe_load_all((EXAMPLES / "components" / "python.yaml").read_text()))
    for manifest in found:
        for entry in manifest["spec"]["metadata"]:
            if entry["name"] == "path":
                entry["value"] = str(folder / Path(entry["value"]).name)
    return found


async def test_the_example_serves_every_kind(tmp_path: Path) -> None:
    (tmp_path / "my-secrets.ini").write_text("[secrets]\nplain = text\n")
    subscription = resource(
        "Subscription",
        "s",
        {"pubsubname": "python-bus", "topic": "t", "routes": {"default": "/event"}},
        "v2alpha1",
    )
    routes = {
        "POST /event": {"json": {"status": "SUCCESS"}},
        "POST /python-files": {"status": 200},
        "OPTIONS /python-files": {"status": 200},
    }
    async with (
        RecordingApp(routes) as app,
        Sidecar(
            resources=[*examples(tmp_path), subscription], app_port=app.port, flags=ON
        ) as sidecar,
    ):
        port = sidecar.http_port
        saved = await acall(port, "POST", "/v1.0/state/python-store", [{"key": "k", "value": 1}])
        assert saved.status == 204
        assert (await acall(port, "GET", "/v1.0/state/python-store/k")).body == b"1"
        stale = [{"key": "k", "value": 2, "etag": "another"}]
        refused = await acall(port, "POST", "/v1.0/state/python-store", stale)
        assert (refused.status, refused.code) == (409, "ERR_STATE_SAVE")
        operations = {"operations": [{"operation": "delete", "request": {"key": "k"}}]}
        deleted = await acall(port, "POST", "/v1.0/state/python-store/transaction", operations)
        assert deleted.status == 204
        assert (await acall(port, "GET", "/v1.0/state/python-store/k")).status == 204
        secret = await acall(port, "GET", "/v1.0/secrets/python-secrets/plain")
        assert secret.json == {"plain": "text"}
        missing = await acall(port, "GET", "/v1.0/secrets/python-secrets/none")
        assert (missing.status, missing.code) == (500, "ERR_SECRET_GET")
        created = {"operation": "create", "data": "body", "metadata": {"key": "one"}}
        assert (await acall(port, "POST", "/v1.0/bindings/python-files", created)).status == 204
        event = await asyncio.to_thread(app.wait_report, 30, method="POST", path="/python-files")
        assert event["body"] == '"body"'
        assert (await acall(port, "POST", "/v1.0/publish/python-bus/t", {"n": 1})).status == 204
        event = await asyncio.to_thread(app.wait_report, 30, method="POST", path="/event")
        assert '"n":1' in event["body"].replace(" ", "")
        listed = (await acall(port, "GET", "/v1.0/metadata")).json["components"]
        assert {one["name"]: one.get("capabilities", []) for one in listed} == {
            "python-store": ["ETAG", "TRANSACTIONAL", "TTL", "ACTOR"],
            "python-bus": [],
            "python-files": ["INPUT_BINDING", "OUTPUT_BINDING"],
            "python-secrets": [],
        }
        # a failure at a call is in the log, with its place and without its text
        await asyncio.to_thread(sidecar.wait_line, "MySecrets.get: LookupError")


async def constant(sidecar: Sidecar, value: str) -> None:
    """Wait until the store says this."""
    async with asyncio.timeout(30):
        while True:
            found = await acall(sidecar.http_port, "GET", "/v1.0/secrets/s/k")
            if found.status == 200 and found.json == {"k": value}:
                return
            await asyncio.sleep(0.05)


async def test_a_changed_manifest_reads_the_file_again() -> None:
    """Files beside the manifests; a wrong one leaves what worked before."""
    manifest = component("s", "secretstores.python", file="store.py", round=1)
    flags = ["--enable-python-components"]
    async with Sidecar(flags=flags) as sidecar:
        file = sidecar.resources_path / "store.py"
        file.write_text(VALUE.format(value="one"))
        write(sidecar, "s", manifest)
        await constant(sidecar, "one")
        file.write_text(VALUE.format(value="two"))  # of the same length, and at once
        write(sidecar, "s", component("s", "secretstores.python", file="store.py", round=2))
        await constant(sidecar, "two")
        file.write_text("class Constant(\n")
        write(sidecar, "s", component("s", "secretstores.python", file="store.py", round=3))
        line = await asyncio.to_thread(sidecar.wait_line, "the version before stays in use")
        assert "store.py, line 1: SyntaxError" in line
        await constant(sidecar, "two")
        assert "store.py was detected" not in sidecar.log


def refused(flags: tuple[str, ...], manifest: Manifest, **options: Any) -> str:
    """The fatal line of a sidecar that does not start."""
    sidecar = Sidecar(resources=[manifest], flags=flags, exit_code=None, **options)
    sidecar.start()
    assert sidecar.wait_exit(60) == 1
    return next(line for line in sidecar.lines if "level=fatal" in line)


@pytest.mark.parametrize(
    ("flags", "metadata", "text"),
    [
        ((), {"file": "my_store.py", "path": "/p"}, "start the sidecar with --enable-python"),
        (ON, {"path": "/p"}, "missing required metadata field 'file'"),
        (ON, {"file": "../python/../../x.py", "path": "/p"}, "there is no such file"),
        (ON, {"file": str(EXAMPLES / "pluggable" / "component.py")}, "outside the folders"),
        (ON, {"file": "my_bus.py"}, "expected a subclass of dapr_sidecar.components.state.base"),
        (ON, {"file": "my_store.py"}, "missing required metadata field 'path'"),
        (
            ON,
            {"file": "my_store.py", "path": "/no such folder/f"},
            "class MyStore: ValueError: 'path': there is no folder /no such folder",
        ),
    ],
)
def test_what_cannot_be_used_ends_the_start(
    flags: tuple[str, ...], metadata: Mapping[str, str], text: str
) -> None:
    manifest = component("s", "state.python", **metadata)
    assert text in refused(flags, manifest)


def test_metadata_tells_of_it_as_of_any_other(tmp_path: Path) -> None:
    manifest = component("s", "state.python", file="my_store.py", path=tmp_path / "f")
    with Sidecar(resources=[manifest], flags=ON) as sidecar:
        (found,) = call(sidecar.http_port, "GET", "/v1.0/metadata").json["components"]
        assert (found["name"], found["type"], found["version"]) == ("s", "state.python", "v1")
