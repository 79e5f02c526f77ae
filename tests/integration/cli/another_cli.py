"""What the official CLI does with sidecars, by its contract: ``another_cli.py JSON``.

Starts the command lines given, each in a process group of its own, says what a CLI says of itself
by the metadata API, prints ``up``, and on SIGTERM kills the sidecars and ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request

_SECONDS = 30.0


def put(port: int, key: str, value: str) -> None:
    """Until the sidecar answers."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1.0/metadata/{key}",
        data=value.encode(),
        method="PUT",
        headers={"Content-Type": "text/plain"},
    )
    until = time.monotonic() + _SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def main() -> None:
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    wanted = json.loads(sys.argv[1])
    started = []
    for sidecar in wanted:
        started.append(subprocess.Popen(sidecar["command"], process_group=0))
        for key, value in {"cliPID": str(os.getpid()), **sidecar["metadata"]}.items():
            put(sidecar["port"], key, value)
    os.write(1, b"up\n")
    told.wait()
    for process in started:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
