"""``dapr bundle create``, and ``dapr init --from-dir`` where there is no network at all."""

from __future__ import annotations

import faulthandler
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.bundles import layout
from harness.cli import Dapr
from harness.no_network import words_without_network
from harness.programs import console_script

from dapr_cli.bundle.images import export
from dapr_cli.console import Console
from dapr_cli.processes import pids_of

_PARTS = ("--extras", "cli,sidecar,sentry,placement")  # a shared machine's time is short
_NO_ROUTE = """
import socket
try:
    socket.create_connection(("192.0.2.1", 80), 5)
except OSError as error:
    print(error.strerror)
"""
# Health is complete once placement has been reached, too: here its usual port is nobody else's.
_APP = """
import json, os, time, urllib.error, urllib.request
api = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0"
until = time.monotonic() + 90
while True:
    try:
        urllib.request.urlopen(f"{api}/healthz", timeout=30)
        break
    except urllib.error.HTTPError as error:
        if time.monotonic() > until:
            raise SystemExit(error.read().decode())
        time.sleep(0.2)
url = f"{api}/state/statestore"
body = json.dumps([{"key": "k", "value": "offline"}]).encode()
headers = {"Content-Type": "application/json"}
urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30)
print("READ", urllib.request.urlopen(url + "/k", timeout=30).read().decode(), flush=True)
"""


@pytest.fixture(scope="session")
def patience() -> None:
    """pip takes its time on a busy machine; every program here has a deadline of its own."""
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def patience_of_each(patience: None) -> None:
    """pytest sets its alarm anew for every test."""
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def archive(patience: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once for all workers: it fetches or builds some forty wheels."""
    shared = tmp_path_factory.getbasetemp().parent
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shared = tmp_path_factory.mktemp("bundle")
    target = shared / "bundle.tar.gz"
    with (shared / "bundle.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            done = subprocess.run(
                [console_script("dapr"), "bundle", "create", "-o", str(target), *_PARTS],
                capture_output=True,
                text=True,
                timeout=600,
            )
            if done.returncode and "No matching distribution" in done.stderr:
                pytest.skip(f"not here: an index of packages ({done.stderr.strip()[-200:]})")
            assert done.returncode == 0, done.stderr
            assert "packages, now " in done.stdout, "long work shows how far it is"
    return target


@pytest.fixture
def bundle(archive: Path, tmp_path: Path) -> Path:
    """The unpacked archive."""
    # As the documents say; Python's own way, with a filter, is not in 3.11.2 of Debian 12.
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path / "unpacked"], check=True, timeout=60)
    (folder,) = (tmp_path / "unpacked").iterdir()
    return folder


@pytest.fixture
def alone() -> list[str]:
    """Words before a command that runs it without any network."""
    return words_without_network()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "home"
    place.mkdir()
    yield place
    Dapr(place).assert_nothing_left()


def test_what_is_in_it(bundle: Path) -> None:
    manifest = json.loads((bundle / "bundle.json").read_text())
    assert manifest["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    for name, one in manifest["files"].items():
        content = (bundle / name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (one["sha256"], one["size"])
    wheels = {path.name.split("-")[0] for path in (bundle / "wheels").iterdir()}
    assert {"dapr_runtime", "cryptography", "uvloop", "aiohttp", "click", "pip"} <= wheels
    assert all(path.suffix == ".whl" for path in (bundle / "wheels").iterdir())
    assert (bundle / "chart" / "Chart.yaml").is_file()
    done = subprocess.run(
        ["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=bundle, capture_output=True
    )
    assert done.returncode == 0, done


def test_a_new_machine_without_any_network(bundle: Path, alone: list[str], home: Path) -> None:
    """As its README says: a Python, the unpacked archive, nothing else."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "DAPR_RUNTIME_PATH": str(home),
        "DAPR_HOST_IP": "127.0.0.1",
        "PIP_INDEX_URL": "http://192.0.2.1/simple",  # it would hang there
    }

    def run(*words: str) -> str:
        done = subprocess.run(
            [*alone, *words], env=env, cwd=bundle, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done
        return done.stdout

    assert run(sys.executable, "-c", _NO_ROUTE).strip() == "Network is unreachable"
    readme = (bundle / "README.md").read_text()
    venv, install, init = [line.strip() for line in readme.splitlines() if line[:4] == "    "]
    assert run("sh", "-c", venv) == ""
    run("sh", "-c", install)
    said = run("sh", "-c", f"{init} --mtls")
    assert "runtime installed" in said
    dapr, own = str(home / "dapr" / "bin" / "dapr"), home / ".dapr" / "runtime" / "bin" / "python"
    assert (home / ".dapr" / "bin" / "daprd").read_text().startswith(f"#!{own}\n")
    assert "Traceback" not in run(dapr, "version")
    said = run(dapr, "run", "--app-id", "off", "--", sys.executable, "-c", _APP)
    assert 'READ "offline"' in said
    assert "Identity spiffe://public/ns/default/off" in said, "by mutual TLS, too"
    assert "runtime is up to date" in run("sh", "-c", f"{init} --mtls")
    assert run(dapr, "uninstall")
    assert not own.exists()
    until = time.monotonic() + 60
    while pids_of(home / ".dapr" / "bin" / "placement"):  # stopped, or ended when idle
        assert time.monotonic() < until
        time.sleep(0.1)


def test_what_cannot_be_packed(tmp_path: Path) -> None:
    """Nothing is left of an archive that could not be finished."""
    dapr, target = Dapr(tmp_path), tmp_path / "out.tar.gz"
    strange = tmp_path / "dapr_runtime-0.0.0-py3-none-any.whl"
    strange.write_bytes(b"no wheel")
    done = dapr("bundle", "create", "-o", str(target), "--source", str(strange))
    assert (done.returncode, "pip ended with exit code" in done.stderr) == (1, True), done
    empty = tmp_path / "empty"
    empty.mkdir()
    done = dapr("bundle", "create", "-o", str(target), "--source", str(empty))
    assert done.returncode == 1
    assert "--source names the product's folder or wheel" in done.stderr
    assert list(tmp_path.glob("*out.tar*")) == []


def test_a_file_that_was_damaged(bundle: Path, tmp_path: Path) -> None:
    dapr = Dapr(tmp_path)
    wheel = next((bundle / "wheels").glob("uvloop-*.whl"))
    content = bytearray(wheel.read_bytes())
    content[1000] ^= 1
    wheel.write_bytes(content)
    for words in (("init", "--from-dir", str(bundle)), ("bundle", "verify", str(bundle))):
        done = dapr(*words)
        assert done.returncode == 1
        assert f"{wheel} is damaged or was changed: its SHA-256 is" in done.stderr
        assert "unpack it again" in done.stderr
    assert not (tmp_path / ".dapr" / "runtime").exists()
    wheel.unlink()
    assert f"{wheel} is missing" in dapr("bundle", "verify", str(bundle)).stderr


def test_a_wheel_that_nobody_packed(bundle: Path, tmp_path: Path) -> None:
    stranger = bundle / "wheels" / "uvloop-99.0-py3-none-any.whl"
    stranger.write_bytes(b"x")
    done = Dapr(tmp_path)("init", "--from-dir", str(bundle))
    assert (done.returncode, f"{stranger} is not of this bundle" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"python": "3.9"}, "the bundle is for Python 3.9 on "),
        ({"format": 9}, "format 9, this CLI knows 1"),
        ({"files": {"../x": {"sha256": "", "size": 0}}}, "leads out of the bundle"),
        ({"files": 3}, "cannot be read"),
    ],
)
def test_a_bundle_of_elsewhere(
    tmp_path: Path, bundle: Path, change: dict[str, object], said: str
) -> None:
    file = bundle / "bundle.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    done = Dapr(tmp_path)("init", "--from-dir", str(bundle))
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr


def test_what_is_no_bundle(tmp_path: Path, archive: Path) -> None:
    dapr, empty = Dapr(tmp_path), tmp_path / "empty"
    empty.mkdir()
    assert "bundle.json is missing" in dapr("init", "--from-dir", str(empty)).stderr
    (empty / "details.json").write_text("{}")
    assert "of the official CLI" in dapr("init", "--from-dir", str(empty)).stderr
    assert "tar -xzf" in dapr("init", "--from-dir", str(archive)).stderr


def test_half_an_installation_is_found_and_mended(bundle: Path, home: Path, tmp_path: Path) -> None:
    dapr = Dapr(home)
    (home / ".dapr" / "runtime" / "bin").mkdir(parents=True)
    found = json.loads(dapr("check", "-o", "json").stdout)
    (one,) = [one for one in found if one["subject"] == str(home / ".dapr" / "runtime")]
    assert "half an installation" in one["problem"]
    done = subprocess.run(
        [console_script("dapr"), "init", "--from-dir", str(bundle)],
        env={**os.environ, **dapr.env()},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done
    found = json.loads(dapr("check", "-o", "json").stdout)
    assert [one for one in found if str(home) in one["subject"]] == []


def test_images_of_a_layout(tmp_path: Path) -> None:
    """A layout as 'make images' writes it: one archive, in which each blob is once."""
    images = layout(tmp_path / "layout")
    unused = images.blob(b"of an image that is no more", "layer.v1.tar")
    found = export(images.folder, tmp_path / "images", Console())
    assert found == dict.fromkeys(images.digests, "images.tar")
    with tarfile.open(tmp_path / "images" / "images.tar") as packed:
        names = packed.getnames()
        assert len(names) == len(set(names)) == 2 + 1 + 3 * len(images.digests)
        assert f"blobs/{unused['digest'].replace(':', '/')}" not in names
        index = packed.extractfile("index.json")
        assert index is not None
        entries = json.load(index)["manifests"]
    # Where containerd looks for the names under which pods ask for them.
    assert images.digests == {
        entry["annotations"]["io.containerd.image.name"]: entry["digest"] for entry in entries
    }
