"""Where the lines of an app and its sidecar go that are no processes of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from dapr_cli import output
from dapr_cli.settings import RunSettings


async def test_lines_of_an_app_and_of_its_sidecar(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = RunSettings(
        app_id="a",
        app_dir=tmp_path,
        app_log_destination="fileAndConsole",
        daprd_log_destination="console",
    )
    app, sidecar = output.of_app(settings, 0, "20260102030405")
    assert sidecar.file is None
    for each in (app, sidecar):
        each.begin()
        each.write(b"one\ntw")
        each.write(b"o\nrest")
    assert capfd.readouterr().out == "".join(
        f"== {kind} - a == {line}\n" for kind in ("APP", "DAPR") for line in ("one", "two")
    )
    await app.close()
    await sidecar.close()
    assert capfd.readouterr().out == "== APP - a == rest\n== DAPR - a == rest\n"
    assert app.file == tmp_path / ".dapr" / "logs" / "a_app_20260102030405.log"
    assert app.file.read_bytes() == b"one\ntwo\nrest"


async def test_a_file_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = RunSettings(app_id="a", app_dir=tmp_path, daprd_log_destination="file")
    _, sidecar = output.of_app(settings, 0, "1")
    sidecar.begin()
    sidecar.write(b"one\n")
    await sidecar.close()
    assert sidecar.file is not None
    assert (sidecar.file.read_text(), capfd.readouterr().out) == ("one\n", "")
