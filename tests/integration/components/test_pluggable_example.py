"""The example's component as its README runs it: protoc's code, grpcio's reflection."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from harness.http_call import call
from harness.pluggable import EXAMPLES, sockets_folder
from harness.programs import Program
from harness.sdk_environments import python_environment
from harness.sidecar import Sidecar

pytestmark = pytest.mark.sdk

PLUGGABLE = EXAMPLES / "pluggable"
PROTOS = ("common", "state")


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[Path]:
    """The folder of the running example's socket."""
    python = str(python_environment(PLUGGABLE / "requirements.txt"))
    files = [f"dapr/proto/components/v1/{name}.proto" for name in PROTOS]
    include = EXAMPLES.parents[1] / "proto"
    made = ["--python_out=.", "--grpc_python_out=."]
    command = [python, "-m", "grpc_tools.protoc", "-I", str(include), *made, *files]
    subprocess.run(command, cwd=tmp_path, check=True)
    script = str(PLUGGABLE / "component.py")
    with sockets_folder() as folder:
        env = {"DAPR_COMPONENT_SOCKETS_FOLDER": str(folder), "PYTHONPATH": str(tmp_path)}
        with Program([python, script], name="example", env=env, exit_code=None) as component:
            yield folder
            component.wait_line("told: {'greeting': 'hello'}")


def test_the_example(sockets: Path) -> None:
    manifest = yaml.safe_load((EXAMPLES / "components" / "pluggable.yaml").read_text())
    env = {"DAPR_COMPONENTS_SOCKETS_FOLDER": str(sockets)}
    with Sidecar(resources=[manifest], env=env) as sidecar:
        port, url = sidecar.http_port, "/v1.0/state/pluggable-store"
        assert call(port, "POST", url, [{"key": "k", "value": {"a": 1}}]).status == 204
        found = call(port, "GET", f"{url}/k")
        assert (found.json, found.headers["etag"]) == ({"a": 1}, "1")
        stale = call(port, "POST", url, [{"key": "k", "value": 2, "etag": "7"}])
        assert (stale.status, stale.code) == (409, "ERR_STATE_SAVE")
        assert call(port, "DELETE", f"{url}/k", headers={"If-Match": "1"}).status == 204
        assert call(port, "GET", f"{url}/k").status == 204
        keys = {"keys": ["a", "b"]}  # it has no bulk methods: they are asked one by one
        assert call(port, "POST", f"{url}/bulk", keys).json == [{"key": "a"}, {"key": "b"}]
        transaction = call(port, "POST", f"{url}/transaction", {"operations": []})
        assert transaction.code == "ERR_STATE_STORE_NOT_SUPPORTED"
