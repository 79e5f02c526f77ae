"""Go's crypto/x509, which sidecars and control planes of Dapr verify with, and our chains."""

from __future__ import annotations

import faulthandler
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness.authorities import brought, now, root, workload

from dapr_common.security.authority import CaBundle, Life, new_bundle
from dapr_common.security.rotation import renewed_issuer, rotated
from dapr_common.security.x509 import write_certificates

SOURCE = Path(__file__).parents[2] / "harness" / "verify_chain.go"

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="go is not here")


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    faulthandler.cancel_dump_traceback_later()  # nothing may be compiled yet; it has a limit
    program = tmp_path_factory.mktemp("go") / "verify_chain"
    subprocess.run(
        ["go", "build", "-o", str(program), str(SOURCE)],
        check=True,
        timeout=300,
        env={**os.environ, "GOFLAGS": "-mod=mod", "GOWORK": "off", "CGO_ENABLED": "0"},
    )
    return str(program)


def verdict(verifier: str, folder: Path, of: CaBundle, trusted: CaBundle) -> str:
    """What Go says of a workload of one authority to somebody who trusts another one's anchors."""
    (folder / "chain.pem").write_bytes(write_certificates(workload(of).chain))
    (folder / "anchors.pem").write_bytes(trusted.anchors_pem)
    command = [verifier, "chain.pem", "anchors.pem"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=20, check=False
    )
    return done.stdout.strip()


def generated() -> CaBundle:
    return new_bundle("cluster.local", "dapr-system", Life.of(now()))


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_rotations(verifier: str, kind: str, tmp_path: Path) -> None:
    before = generated() if kind == "ed25519" else brought(kind)  # type: ignore[arg-type]
    after = rotated(before, now(), Life.of(now()))
    last = rotated(after, now(), Life.of(now()))
    for of in (before, after, last):
        for trusted in (before, after, last):
            assert verdict(verifier, tmp_path, of, trusted) == "OK"


def test_renewed_issuers(verifier: str, tmp_path: Path) -> None:
    before = generated()
    after = renewed_issuer(before, Life.of(now()))
    assert verdict(verifier, tmp_path, after, before) == "OK"
    anchor, key = root()
    alone = CaBundle((anchor,), (anchor,), key)
    assert verdict(verifier, tmp_path, rotated(alone, now(), Life.of(now())), alone) == "OK"


def test_strangers(verifier: str, tmp_path: Path) -> None:
    assert "unknown authority" in verdict(verifier, tmp_path, generated(), brought())
    after = rotated(brought(), now(), Life.of(now()))
    assert "unknown authority" in verdict(verifier, tmp_path, after, brought())
