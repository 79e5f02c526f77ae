"""Processes of ``dapr run``: output with prefixes and files, groups, grace, hurry."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from dapr_cli.child import Child, ending
from dapr_cli.errors import CliError
from dapr_cli.output import Output, destined

STUBBORN = "trap '' TERM; echo ready; sleep 60 & wait; wait; wait"


def child(script: str, output: Output | None = None) -> Child:
    return Child("the app a", ["/bin/sh", "-c", script], output or Output())


async def until(file: Path, text: str) -> None:
    while not file.exists() or text not in file.read_text():
        await asyncio.sleep(0.01)


async def test_lines_get_a_prefix_and_the_file_gets_them_plain(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "logs" / "a.log"
    process = child("echo one; echo two >&2; printf three", Output(file=file, prefix="== P == "))
    await process.start({})
    await process.wait()
    await process.stop(1.0, asyncio.Event())
    assert capfd.readouterr().out == "== P == one\n== P == two\n== P == three\n"
    assert file.read_text() == "one\ntwo\nthree"
    assert process.exit_code == 0
    assert not process.failed


async def test_a_line_without_end_does_not_grow(capfd: pytest.CaptureFixture[str]) -> None:
    script = f"{sys.executable} -c 'print(\"x\" * 300000)'"
    process = child(script, Output(prefix="> "))
    await process.start({})
    await process.wait()
    await process.stop(1.0, asyncio.Event())
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) > 1
    assert "".join(line.removeprefix("> ") for line in lines) == "x" * 300000


@pytest.mark.parametrize(
    ("destination", "shown", "written"),
    [("console", "P hi\n", None), ("file", "", "hi\n"), ("fileAndConsole", "P hi\n", "hi\n")],
)
async def test_destinations(
    destination: str,
    shown: str,
    written: str | None,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "a.log"
    process = child("echo hi", destined(destination, file, "P "))
    await process.start({})
    await process.wait()
    await process.stop(1.0, asyncio.Event())
    assert capfd.readouterr().out == shown
    assert (file.read_text() if file.exists() else None) == written


async def test_a_grandchild_that_keeps_the_output_does_not_hold_up(tmp_path: Path) -> None:
    # Out of the group before its parent ends: it shall not be stopped with that.
    grandchild = "setsid sh -c 'echo $$ > pid; exec sleep 60'"
    script = f"{grandchild} & while [ ! -s pid ]; do sleep 0.01; done"
    process = child(script, Output(prefix=""))
    await process.start({}, tmp_path)
    started = time.monotonic()
    await process.wait()
    await process.stop(1.0, asyncio.Event())
    assert time.monotonic() - started < 30
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


async def test_the_whole_group_is_stopped(tmp_path: Path) -> None:
    script = f"{sys.executable} -c 'import time; time.sleep(60)' & echo $! > pid; wait"
    process = child(script)
    await process.start({}, tmp_path)
    await until(tmp_path / "pid", "\n")
    assert await process.stop(30.0, asyncio.Event())
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/exe").exists()
    assert process.exit_code == -signal.SIGTERM
    assert not process.failed, "it was asked to end"


async def test_what_ignores_the_request_is_killed(tmp_path: Path) -> None:
    process = child(STUBBORN, Output(file=tmp_path / "out"))
    await process.start({})
    await until(tmp_path / "out", "ready")
    assert not await process.stop(0.2, asyncio.Event())
    assert process.exit_code == -signal.SIGKILL


async def test_hurry_does_not_wait(tmp_path: Path) -> None:
    process = child(STUBBORN, Output(file=tmp_path / "out"))
    await process.start({})
    await until(tmp_path / "out", "ready")
    hurry = asyncio.Event()
    hurry.set()
    await asyncio.wait_for(process.stop(60.0, hurry), 30)
    assert process.exit_code == -signal.SIGKILL


async def test_an_end_with_an_error_is_a_failure() -> None:
    process = child("exit 3")
    await process.start({})
    await process.wait()
    await process.stop(1.0, asyncio.Event())
    await process.stop(1.0, asyncio.Event())
    assert (process.exit_code, process.failed) == (3, True)
    assert process.title == "The app a"


async def test_environment_and_directory(tmp_path: Path) -> None:
    process = child('echo "$A $PWD" > out')
    await process.start({"A": "b"}, tmp_path)
    await process.wait()
    assert (tmp_path / "out").read_text() == f"b {tmp_path}\n"


async def test_a_program_that_is_not_there() -> None:
    process = Child("the app a", ["no-such-program"], Output(prefix="x"))
    with pytest.raises(CliError, match=r"the app a cannot be started: no-such-program: No such"):
        await process.start({})
    await process.stop(1.0, asyncio.Event())
    assert (process.pid, process.exit_code) == (0, None)


def test_endings_in_words() -> None:
    assert ending(3) == "exit code 3"
    assert ending(-9) == "signal SIGKILL"
    assert ending(-99) == "signal 99"
