"""Run the example from nothing to its result, say what happened, and stop everything.

``make demo`` calls this. Your home is left alone: `dapr init` writes to a temporary folder.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
SDK = HERE / ".venv"
DAPR = Path(sys.executable).with_name("dapr")
PATIENCE_SECONDS = 90
LINE = re.compile(r"^== APP - (?P<app>[\w-]+) == (?P<text>.*)$")
ORDER = re.compile(r"^order (?P<id>\w+): (?P<order>\{.*\})$")


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


def main() -> int:
    """Run it; the exit code is 0 only if every order arrived everywhere."""
    with tempfile.TemporaryDirectory(prefix="dapr-demo-") as home:
        try:
            step("1/4", "the official Dapr SDK for Python, in an environment of its own")
            prepare_sdk()
            step("2/4", "dapr init: an embedded state store and broker, no Docker, no Redis")
            run([str(DAPR), "init", "--runtime-path", home])
            step("3/4", "dapr run: two applications and their two sidecars")
            placed, shipped, status = play(home)
        except DemoError as error:
            print(f"\nThe demo failed: {error}", file=sys.stderr)
            return 1
    step("4/4", "what happened")
    complete = report(placed, shipped)
    print(f"\nEverything is stopped (dapr run ended with exit code {status}).")
    print("Next: an application of your own, docs/quickstart.md")
    return 0 if complete and status == 0 else 1


def step(number: str, text: str) -> None:
    """Announce what comes next."""
    print(f"\n[{number}] {text}", flush=True)


def prepare_sdk() -> None:
    """Make the environment of the checkout application, once."""
    stamp, wanted = SDK / ".ready", HERE / "checkout" / "requirements.txt"
    if stamp.exists() and stamp.read_text() == wanted.read_text():
        print("  is there already")
        return
    run([sys.executable, "-m", "venv", str(SDK)])
    pip = [str(SDK / "bin" / "python"), "-m", "pip", "install", "-q"]
    run([*pip, "--disable-pip-version-check", "-r", str(wanted)])
    stamp.write_text(wanted.read_text())


def run(command: list[str]) -> None:
    """Run a command to its end; its output is shown, indented."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    for line in (done.stdout + done.stderr).splitlines():
        print(f"  {line}")
    if done.returncode:
        raise DemoError(f"'{' '.join(command[:3])} …' ended with exit code {done.returncode}")


def play(home: str) -> tuple[dict[str, dict], list[dict], int]:
    """Start both applications, wait until every order was shipped, stop."""
    command = [str(DAPR), "run", "-f", str(HERE), "--runtime-path", home]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )
    lines: queue.Queue[str | None] = queue.Queue(10_000)
    threading.Thread(target=_pump, args=(process, lines), daemon=True).start()
    try:
        placed = follow(lines)
        shipped = wait_for_shipments(len(placed))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            status = process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
    return placed, shipped, status


def _pump(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line.rstrip("\n"))
    lines.put(None)


def follow(lines: queue.Queue[str | None]) -> dict[str, dict]:
    """Show what the applications print until checkout is done; the orders it placed."""
    placed: dict[str, dict] = {}
    seen: list[str] = []
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            line = lines.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            line = None
        if line is None:
            tail = "\n  ".join(seen[-30:])
            raise DemoError(f"checkout did not finish. The last lines were:\n  {tail}")
        seen.append(line)
        found = LINE.match(line)
        if found is None:
            continue
        print(f"  {found['app']:>15} | {found['text']}", flush=True)
        if order := ORDER.match(found["text"]):
            placed[order["id"]] = json.loads(order["order"])
        if found["text"] == "checkout is done":
            return placed


def wait_for_shipments(count: int) -> list[dict]:
    """Ask the order processor, through its sidecar, until it has shipped that many."""
    listed = subprocess.run(
        [str(DAPR), "list", "-o", "json"], capture_output=True, text=True, timeout=30, check=True
    )
    port = next(a["httpPort"] for a in json.loads(listed.stdout) if a["appId"] == "order-processor")
    url = f"http://127.0.0.1:{port}/v1.0/invoke/order-processor/method/shipments"
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        with urllib.request.urlopen(url, timeout=10) as answer:
            shipped: list[dict] = json.load(answer)
        if len(shipped) >= count:
            return shipped
        time.sleep(0.1)
    raise DemoError(f"only {len(shipped)} of {count} orders arrived at the subscriber")


def report(placed: dict[str, dict], shipped: list[dict]) -> bool:
    """Print the table; returns whether every order went all the way."""
    arrived = {order["id"] for order in shipped}
    print(f"\n  {'ORDER':<7}{'ITEM':<9}{'PRICE':>8}   {'INVOKED':<9}{'STORED':<8}SHIPPED")
    for order_id, order in sorted(placed.items()):
        done = "yes" if order_id in arrived else "no"
        price = f"{order['price']:.2f}"
        print(f"  {order_id:<7}{order['item']:<9}{price:>8}   {'yes':<9}{'yes':<8}{done}")
    print(
        "\n  INVOKED  checkout (Dapr SDK) asked order-processor (plain HTTP) for the price:"
        "\n           app -> sidecar -> sidecar -> app, found by name"
        "\n  STORED   checkout saved the order in 'statestore' and read it back"
        "\n  SHIPPED  checkout published it on 'pubsub'; order-processor, subscribed, received it"
    )
    return bool(placed) and set(placed) == arrived


if __name__ == "__main__":
    sys.exit(main())
