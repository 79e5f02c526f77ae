"""Within the virtual machine: the guide's steps for one machine, then what may go wrong.

It runs at each boot: the first time everything up to ``reboot``, then what is to be there again.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
import traceback
from functools import partial
from pathlib import Path

sys.path.insert(0, "/payload")
from facts import call, files, follow_guide, journal, process, run, tell, unit, wait

SENTRY, PLACEMENT = "dapr-sentry.service", "dapr-placement.service"
ORDERS, CHECKOUT = "daprd@orders.service", "daprd@checkout.service"
UNITS = (SENTRY, PLACEMENT, ORDERS, CHECKOUT)
AUTHORITY = "/var/lib/private/dapr-sentry"
BEFORE_REBOOT = Path("/var/tmp/before-reboot")
_RESTARTS = 6  # more than the five that systemd allows within ten seconds


def main() -> None:
    tell("system", run("systemctl", "is-system-running", "--wait", check=False).strip())
    if BEFORE_REBOOT.exists():
        look_after_reboot()
        stop()
        run("systemctl", "poweroff")
        return
    set_up()
    look()
    kill()
    keep_trying()
    drain()
    write_elsewhere()
    move_authority()
    BEFORE_REBOOT.touch()
    run("systemctl", "reboot")


# --- the guide ------------------------------------------------------------------------------


def set_up() -> None:
    tell("install", follow_guide("sudo sysctl --system"))
    tell("verify", run("systemd-analyze", "verify", *UNITS))
    start_consul()
    tell("start sentry", follow_guide("systemctl enable --now dapr-sentry\nsudo ls"))
    tell("sentry listens at once", listens(50001))
    follow_guide("| ssh vm-2")
    follow_guide("trust-anchors.env")
    tell("start placement", follow_guide("systemctl enable --now dapr-placement"))
    tell("placement listens at once", listens(50005))
    run("systemctl", "enable", "--now", "orders-app", ORDERS)
    tell("orders serves at once", call("GET", 3501, "/v1.0/healthz/outbound"))
    tell("start checkout", follow_guide("systemctl enable --now daprd@checkout"))
    tell("checkout serves at once", call("GET", 3502, "/v1.0/healthz/outbound"))
    run("systemctl", "enable", "--now", "checkout-app")
    wait(lambda: call("GET", 3502, "/v1.0/healthz")[0] == 204, "checkout's sidecar is healthy")


def start_consul() -> None:
    """The guide's configuration is for three servers; here is one."""
    path = Path("/etc/consul.d/consul.json")
    text = path.read_text().replace('"bootstrap_expect": 3', '"bootstrap_expect": 1')
    path.write_text(text.replace('"10.0.0.11", "10.0.0.12", "10.0.0.13"', '"10.0.0.11"'))
    follow_guide("systemctl enable --now consul")
    wait(lambda: len(call("GET", 8500, "/v1/status/leader")[1]) > 4, "Consul leads")


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


# --- what it looks like ---------------------------------------------------------------------


def look() -> None:
    wait(serves, "checkout reaches orders")
    tell("count", call("PUT", 3502, "/v1.0/actors/order/42/method/add"))
    tell("units", {name: unit(name) for name in UNITS})
    tell("processes", {name: process(name) for name in UNITS})
    tell("authority", files(AUTHORITY))
    tell("state of orders", files("/var/lib/private/daprd/orders"))
    tell("exposure", {name: exposure(name) for name in UNITS})
    for _ in range(2):
        run("systemctl", "kill", "--kill-whom=main", "-s", "USR1", SENTRY, ORDERS)
    wait(lambda: len(shouted(SENTRY)) == 2 and len(shouted(ORDERS)) == 2, "it is in the journal")
    tell("journal", {name: lines(name) for name in UNITS})


def serves() -> bool:
    return call("GET", 3502, "/v1.0/invoke/orders/method/where")[0] == 200


def exposure(name: str) -> str:
    return run("systemd-analyze", "security", "--no-pager", name).splitlines()[-1]


def shouted(name: str) -> list[str]:
    return [text for text, _ in lines(name) if "SIGUSR1" in text]


def lines(name: str) -> list[tuple[str, str]]:
    """What the program itself has written, with the journal's priority."""
    pid = unit(name)["MainPID"]
    found = journal("-b", "-u", name, f"_PID={pid}")
    return [(str(each["MESSAGE"]), str(each["PRIORITY"])) for each in found]


# --- what may go wrong ----------------------------------------------------------------------


def kill() -> None:
    """As the kernel does when memory is short."""
    for name in (SENTRY, PLACEMENT, ORDERS):
        before = unit(name)["MainPID"]
        run("systemctl", "kill", "--kill-whom=main", "-s", "KILL", name)
        seconds = wait(partial(is_active_again, name, before), f"{name} is active again")
        tell(f"killed {name}", {"seconds": seconds, **unit(name)})
    wait(serves, "checkout reaches orders again")
    tell("count after the kills", call("PUT", 3502, "/v1.0/actors/order/42/method/add"))


def is_active_again(name: str, before: str) -> bool:
    now = unit(name)
    return now["ActiveState"] == "active" and now["MainPID"] not in ("0", before)


def keep_trying() -> None:
    """A sidecar that ends as soon as it begins is tried until what is wrong is mended.

    Where systemd counts starts, this machine being slow, one within its ten seconds is too many.
    """
    name = "daprd@broken.service"
    Path("/etc/dapr/apps/broken.env").write_text(
        "APP_PORT=6003\nDAPR_HTTP_PORT=3503\nDAPR_GRPC_PORT=3513\n"
        "DAPR_INTERNAL_GRPC_PORT=3523\nDAPR_METRICS_PORT=9093\n"
    )
    wrong = Path("/etc/systemd/system") / f"{name}.d" / "wrong.conf"
    wrong.parent.mkdir()
    wrong.write_text("[Unit]\nStartLimitBurst=1\n[Service]\nExecStart=\nExecStart=/bin/false\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "start", name, check=False)
    with contextlib.suppress(RuntimeError):
        wait(lambda: int(unit(name)["NRestarts"]) >= _RESTARTS, "it is tried", _RESTARTS * 10.0)
    tell("broken", unit(name))
    wrong.unlink()
    run("systemctl", "daemon-reload")
    with contextlib.suppress(RuntimeError):
        wait(lambda: unit(name)["ActiveState"] == "active", "it is mended")
    tell("mended", unit(name))
    run("systemctl", "stop", name)


def drain() -> None:
    """A call under way when the sidecar is stopped is answered."""
    answers: list[tuple[int, str]] = []
    asked = Path("/run/slow-was-asked")
    caller = threading.Thread(
        target=lambda: answers.append(call("GET", 3501, "/v1.0/invoke/checkout/method/slow"))
    )
    caller.start()
    wait(asked.exists, "the slow method is asked")
    seconds = stop_unit(CHECKOUT)
    caller.join()
    tell("drained", {"seconds": seconds, "answer": answers[0], **unit(CHECKOUT)})
    run("systemctl", "start", CHECKOUT)


def write_elsewhere() -> None:
    """The guide's drop-in for a component that writes files."""
    Path("/etc/dapr/resources/files.yaml").write_text(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: files}\nspec:\n"
        "  type: bindings.localstorage\n  version: v1\n"
        "  metadata: [{name: rootPath, value: /srv/files}]\nscopes: [checkout]\n"
    )
    follow_guide("ReadWritePaths=/srv/files")
    body = {"operation": "create", "metadata": {"fileName": "a.txt"}, "data": "hello"}
    tell("file", call("POST", 3502, "/v1.0/bindings/files", body))
    tell("files", run("stat", "-c", "%U %n", "/srv/files/a.txt").strip())


def move_authority() -> None:
    """The guide's copy for another machine is unpacked; there this one would be another."""
    before = Path(AUTHORITY, "ca.crt").read_bytes()
    run("systemctl", "disable", "--now", SENTRY)
    run("rm", "-r", AUTHORITY, "/var/lib/dapr-sentry")
    with Path("/var/tmp/sent").open("rb") as sent:
        for line in Path("/var/tmp/vm-2.sh").read_text().splitlines():
            run("bash", "-c", line, stdin=sent)
    tell("moved authority", files(AUTHORITY))
    tell("it is the same", Path(AUTHORITY, "ca.crt").read_bytes() == before)
    run("systemctl", "restart", ORDERS)
    wait(serves, "checkout reaches orders by a certificate of the moved authority")


# --- later ----------------------------------------------------------------------------------


def look_after_reboot() -> None:
    tell("serves after the reboot", wait(serves, "checkout reaches orders after a reboot"))
    tell("count after the reboot", call("PUT", 3502, "/v1.0/actors/order/42/method/add"))
    tell("units after the reboot", {name: unit(name) for name in UNITS})
    tell("objections", [each["MESSAGE"] for each in about_units("-b", "-p", "warning")])
    tell("shutdown", [each["MESSAGE"] for each in about_units("-b", "-1")])


def about_units(*options: str) -> list[dict[str, object]]:
    """What systemd itself has said of ours."""
    said = journal(*options, "_PID=1")
    return [each for each in said if "dapr" in str(each.get("UNIT", ""))]


def stop() -> None:
    tell("stop", {name: [stop_unit(name), unit(name)["Result"]] for name in reversed(UNITS)})
    tell("said of stops", [each["MESSAGE"] for each in about_units("-b")])


def stop_unit(name: str) -> float:
    began = time.monotonic()
    run("systemctl", "stop", name)
    return time.monotonic() - began


if __name__ == "__main__":
    try:
        main()
    except Exception:  # noqa: BLE001 - the host says it, and the machine ends
        tell("failure", traceback.format_exc())
        tell("journal of the failure", run("journalctl", "-q", "--no-pager", "-b", "-n", "200"))
        run("systemctl", "poweroff")
