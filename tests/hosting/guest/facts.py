"""Within the virtual machine: what the scenario looks at, and how it tells the host."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

_LINE = Path("/dev/ttyS1")
_COMMAND_SECONDS = 600.0
_WAIT_SECONDS = 180.0
_CALL_SECONDS = 60.0
_SHOWN = "ActiveState,SubState,Result,NRestarts,MainPID,ExecMainStatus"
_OF_PROCESS = ("Uid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")


def tell(name: str, value: object) -> None:
    """One fact, for the host."""
    with _LINE.open("w", encoding="ascii") as line:
        line.write(json.dumps({"fact": name, "value": value}) + "\n")


def run(*command: str, check: bool = True, stdin: IO[bytes] | None = None) -> str:
    """What a command says. Raises ``RuntimeError`` with it, unless it may fail."""
    done = subprocess.run(
        command,
        stdin=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=_COMMAND_SECONDS,
        cwd="/payload",
        env={
            **os.environ,
            "HOME": "/root",
            "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "SYSTEMD_COLORS": "0",
        },
    )
    said = done.stdout + done.stderr
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)[:300]}: status {done.returncode}\n{said}")
    return said


def follow_guide(mark: str) -> float:
    """Do what the guide's only block of commands with ``mark`` says; the seconds it took.

    The product is installed already.
    """
    guide = Path("/payload/guide.md").read_text(encoding="utf-8")
    blocks = [part.partition("```")[0] for part in guide.split("```bash\n")[1:]]
    (block,) = [each for each in blocks if mark in each]
    block = "".join(line for line in block.splitlines(True) if "/opt/dapr" not in line)
    began = time.monotonic()
    run("bash", "-euo", "pipefail", "-c", block)
    return time.monotonic() - began


def unit(name: str) -> dict[str, str]:
    """How systemd sees it now."""
    lines = run("systemctl", "show", "-p", _SHOWN, name).splitlines()
    return dict(line.split("=", 1) for line in lines)


def process(name: str) -> dict[str, str]:
    """What the kernel allows a unit's program."""
    folder = Path("/proc") / unit(name)["MainPID"]
    status = dict(
        line.split(":\t", 1)
        for line in (folder / "status").read_text().splitlines()
        if ":\t" in line
    )
    limits = (folder / "limits").read_text().splitlines()
    files = next(line for line in limits if line.startswith("Max open files"))
    return {key: status[key] for key in _OF_PROCESS} | {"files": files.split()[3]}


def wait(what: Callable[[], bool], title: str, limit: float = _WAIT_SECONDS) -> float:
    """The seconds until something is true. Raises ``RuntimeError``."""
    began = time.monotonic()
    while time.monotonic() - began < limit:
        if what():
            return time.monotonic() - began
        time.sleep(0.1)
    raise RuntimeError(f"not after {limit:g} s: {title}")


def call(method: str, port: int, path: str, body: object = None) -> tuple[int, str]:
    """Status and body of an answer; 0 and why when there is none."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        content,
        {"Content-Type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=_CALL_SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def files(folder: str) -> dict[str, list[object]]:
    """Name → owner's number and mode of what lies in a folder, and of itself."""
    paths = [Path(folder), *sorted(Path(folder).iterdir())]
    found = {path.name: path.stat() for path in paths}
    return {name: [stat.st_uid, f"{stat.st_mode & 0o7777:o}"] for name, stat in found.items()}


def journal(*options: str) -> list[dict[str, Any]]:
    """Records of systemd's journal."""
    lines = run("journalctl", "-q", "--no-pager", "-o", "json", *options).splitlines()
    return [json.loads(line) for line in lines]
