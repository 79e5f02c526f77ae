"""A program from its command line to its exit code: real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness.programs import Program, console_script

SOURCE = """
import asyncio, os, resource, sys
from dataclasses import dataclass
from dapr_common.aio.run import FatalError
from dapr_common.flags import Flag
from dapr_common.program import SERVICE_FLAGS, Program, ServiceSettings, SettingsError


@dataclass(frozen=True)
class Settings:
    service: ServiceSettings
    how: str


def read(parsed):
    if parsed.text("how") == "unusable":
        raise SettingsError("--how cannot be used: say something else")
    return Settings(ServiceSettings.read(parsed), parsed.text("how"))


async def root(settings):
    try:
        print("files", *resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)
        if settings.how == "fatal":
            raise FatalError("what is wrong, what to do")
        if settings.how == "group":
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fail())
                tasks.create_task(asyncio.sleep(60))
        if settings.how == "bug":
            raise ValueError("a bug")
        if settings.how != "return":
            print("serving", flush=True)
            await asyncio.Event().wait()
    finally:
        if settings.how in ("slow", "stuck"):
            await asyncio.sleep(0.2 if settings.how == "slow" else 60)
        print("stopped in order", flush=True)


async def fail():
    raise FatalError("from a task")


flags = (Flag("how", "string", "", "what to do"), *SERVICE_FLAGS)
program = Program(name="p", summary="s", scope="dapr.test", flags=flags, read=read, root=root)
sys.exit(program.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "p.py"
    path.write_text(SOURCE)
    return path


def program(script: Path, *arguments: str, exit_code: int = 0) -> Program:
    started = Program([sys.executable, str(script), *arguments], name="p", exit_code=exit_code)
    started.start()
    return started


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_order(script: Path, number: signal.Signals) -> None:
    running = program(script, "--how=slow")
    running.wait_line("serving")
    running.signal(number)
    assert running.wait_exit() == 0
    assert "beginning shutdown" in running.log
    assert "stopped in order" in running.log


def test_a_second_signal_ends_at_once(script: Path) -> None:
    running = program(script, "--how=stuck")
    running.wait_line("serving")
    running.signal(signal.SIGTERM)
    running.wait_line("beginning shutdown")
    running.signal(signal.SIGTERM)
    assert running.wait_exit() == 1
    assert "exiting immediately" in running.log


def test_a_root_that_returns_is_exit_code_0(script: Path) -> None:
    assert program(script, "--how=return").wait_exit() == 0


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("fatal", "Fatal error: what is wrong, what to do"),
        ("group", "Fatal error: from a task"),
        ("bug", "ValueError: a bug"),
        ("unusable", "--how cannot be used: say something else"),
    ],
)
def test_failures_are_one_fatal_line(script: Path, how: str, words: str) -> None:
    failed = program(script, f"--how={how}", exit_code=1)
    assert failed.wait_exit() == 1
    fatal = [line for line in failed.lines if "level=fatal" in line]
    assert len(fatal) == 1, failed.log
    assert words in fatal[0]
    if how == "group":
        assert "stopped in order" in failed.log


def test_usage(script: Path) -> None:
    wrong = program(script, "--what", exit_code=2)
    assert wrong.wait_exit() == 2
    assert "unknown flag: --what\nSee p --help." in wrong.log
    helped = program(script, "-h")
    assert helped.wait_exit() == 0
    assert "--healthz-port int" in helped.log


def test_all_files_that_may_be_opened_may_be(script: Path) -> None:
    done = program(script, "--how=return")
    assert done.wait_exit() == 0
    soft, hard = next(line for line in done.lines if line.startswith("files")).split()[1:]
    assert soft == hard


@pytest.mark.parametrize(
    "name",
    [
        *("daprd", "dapr", "dapr-operator", "dapr-injector"),
        *("dapr-sentry", "dapr-placement", "dapr-dashboard"),
    ],
)
def test_a_reader_that_has_seen_enough_is_no_error(name: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [console_script(name), "--help"],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            timeout=30,
        )
    finally:
        os.close(writing)
    assert done.stderr == b""
