"""Three virtual machines as ``docs/virtual-machines.md`` sets them up, with its files.

Each unit's ``ExecStart`` is started as it stands; only the programs are those beside this Python.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from harness.cli import app_command
from harness.consul import consul_program
from harness.http_call import Answer, call
from harness.network_namespaces import Machine, Network
from harness.programs import Program, accepts_connections, console_script
from hosting.systemd_units import PACKAGING, read_environment, read_sysctl, read_unit

STORE = "10.0.0.20"
AUTHORITY = ("ca.crt", "issuer.crt", "issuer.key")
_BUSY_SECONDS = 120.0
_CONSUL, _SENTRY_HEALTH, _PLACEMENT_HEALTH = 8500, 58090, 58080


class VirtualMachine:
    """``number`` is 1 to 3; its address is ``10.0.0.1<number>``."""

    def __init__(self, network: Network, number: int) -> None:
        self.name, self.address = f"vm-{number}", f"10.0.0.1{number}"
        self.machine = network.machine(self.name)
        self._network = network
        self._etc = self.machine.disk / "etc"
        self.authority = self.machine.disk / "var/lib/dapr-sentry"
        shutil.copytree(PACKAGING / "etc", self._etc, dirs_exist_ok=True)
        vm = self._etc / "dapr/vm.env"
        vm.write_text(vm.read_text().replace("HOST_IP=10.0.0.11", f"HOST_IP={self.address}"))

    # --- the guide's steps --------------------------------------------------------------------

    def power_on(self) -> None:
        self.machine.power_on()
        self._network.plug_in(self.machine, self.address)
        for name, value in read_sysctl(PACKAGING / "etc/sysctl.d/90-dapr.conf").items():
            self.machine.shell(f"echo {value} > /proc/sys/{name.replace('.', '/')}")

    def lose_power(self) -> None:
        """It says nothing more, and all its processes are gone."""
        self._network.unplug(self.machine)
        self.machine.power_off()

    def start_consul(self) -> Program:
        command = [consul_program(), "agent", "-config-dir=/etc/consul.d"]
        return self.machine.start("consul", command, is_ready=self._consul_has_a_leader)

    def _consul_has_a_leader(self) -> bool:
        return len(call(_CONSUL, "GET", "/v1/status/leader").body) > len('""\n')

    def start_sentry(self) -> Program:
        return self._start_unit("dapr-sentry.service", lambda: _is_healthy(_SENTRY_HEALTH))

    def start_placement(self) -> Program:
        return self._start_unit("dapr-placement.service", lambda: _is_healthy(_PLACEMENT_HEALTH))

    def take_authority(self, other: VirtualMachine) -> None:
        """Copy the files of another machine's sentry, unless they are its own."""
        self.authority.mkdir(exist_ok=True)
        for name in AUTHORITY:
            if self is not other:
                shutil.copy(other.authority / name, self.authority / name)
        anchors = (self.authority / "ca.crt").read_text()
        (self._etc / "dapr/ca.crt").write_text(anchors)
        (self._etc / "dapr/trust-anchors.env").write_text(f'DAPR_TRUST_ANCHORS="{anchors}"\n')

    def start_checkout(self) -> list[Program]:
        """The app as any program, its sidecar as the unit has it."""
        variables = self._app("checkout")
        app = self.machine.start(
            "checkout's app",
            app_command(),
            env=variables,
            is_ready=lambda: accepts_connections(int(variables["APP_PORT"])),
        )
        api = self._api("checkout")
        sidecar = self._start_unit(
            "daprd@.service", lambda: _is_healthy(api, "/v1.0/healthz"), "checkout"
        )
        return [app, sidecar]

    def start_orders(self) -> Program:
        """Both by ``dapr run``."""
        programs = str(Path(console_script("dapr")).parent)
        env = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "ORDERS_APP": str(PACKAGING / "example/orders.py"),
        }
        return self.machine.start(
            "dapr run",
            ["sh", str(PACKAGING / "example/run-orders.sh")],
            env=env,
            is_ready=lambda: _is_healthy(self._api("orders"), "/v1.0/healthz"),
        )

    def _start_unit(self, name: str, is_ready: Callable[[], bool], instance: str = "") -> Program:
        unit = read_unit(PACKAGING / name)
        specifiers = {"i": instance, "H": self.name, "S": "/var/lib"}
        env: dict[str, str] = {}
        for file in unit.all("Service", "EnvironmentFile"):
            env |= read_environment(self.machine.disk / file.replace("%i", instance).lstrip("/"))
        program, *flags = unit.command(env, specifiers)
        command = [console_script(Path(program).name), *flags]
        title = instance or Path(program).name
        return self.machine.start(title, command, env=env, is_ready=is_ready)

    def _app(self, name: str) -> dict[str, str]:
        return read_environment(self._etc / f"dapr/apps/{name}.env")

    def _api(self, app: str) -> int:
        return int(self._app(app)["DAPR_HTTP_PORT"])

    # --- what its users see ---------------------------------------------------------------------

    def ask(self, method: str, path: str, timeout: float = 20.0) -> Answer:
        """What the checkout app asks its sidecar; runs where ``Machine.do`` calls it."""
        return call(self._api("checkout"), method, f"/v1.0/{path}", timeout=timeout)

    def ask_orders(self) -> str:
        """The machine of the replica that answered. Raises ``AssertionError``, ``OSError``."""
        answer = self.ask("GET", "invoke/orders/method/where")
        assert answer.status == 200, answer
        return str(answer.json["machine"])

    def add(self, actor: str) -> tuple[str, int]:
        """Where an actor is, and what it has counted. Raises ``AssertionError``, ``OSError``."""
        answer = self.ask("PUT", f"actors/order/{actor}/method/add")
        assert answer.status == 200, answer
        return str(answer.json["machine"]), int(answer.json["count"])

    def leads_placement(self) -> bool:
        return self.machine.do(call, _PLACEMENT_HEALTH, "GET", "/placement/state").status == 200

    def leads_consul(self) -> bool:
        answer = self.machine.do(call, _CONSUL, "GET", "/v1/status/leader")
        return str(answer.json).startswith(f"{self.address}:")

    def certificate_of_orders(self) -> x509.Certificate:
        """What its sidecar shows to others, verified against this machine's trust anchors."""
        context = ssl.create_default_context(cafile=str(self._etc / "dapr/ca.crt"))
        context.check_hostname = False
        context.set_alpn_protocols(["h2"])
        port = int(self._app("orders")["DAPR_INTERNAL_GRPC_PORT"])
        with (
            socket.create_connection((self.address, port), 10) as plain,
            context.wrap_socket(plain) as connection,
        ):
            der = connection.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der)


def _is_healthy(port: int, path: str = "/healthz") -> bool:
    return call(port, "GET", path, timeout=2.0).status // 100 == 2


@contextmanager
def three_machines() -> Iterator[list[VirtualMachine]]:
    """All that the guide starts is up; gone at the end."""
    with Network() as network:
        _start_store(network)
        machines = [VirtualMachine(network, number) for number in (1, 2, 3)]
        for each in machines:
            each.power_on()
        consuls = [each.start_consul() for each in machines]
        first, *others = machines
        first.authority.mkdir()
        first.start_sentry().wait_ready()
        for each in machines:
            each.take_authority(first)
        wait_ready([*consuls, *(each.start_sentry() for each in others)])
        start_services(machines)
        yield machines


def start_services(machines: Sequence[VirtualMachine]) -> None:
    """What needs Consul and sentry."""
    placements = [each.start_placement() for each in machines]
    sidecars: list[Program] = []
    for each in machines:
        sidecars += [each.start_orders(), *each.start_checkout()]
    wait_ready([*placements, *sidecars])


def boot(machine: VirtualMachine) -> None:
    """Everything again, as systemd would start it."""
    machine.power_on()
    wait_ready([machine.start_consul(), machine.start_sentry()])
    start_services([machine])


def wait_ready(programs: Sequence[Program]) -> None:
    for program in programs:
        program.wait_ready()


def eventually(what: Callable[[], bool], seconds: float = _BUSY_SECONDS) -> None:
    """Wait until something is true, whatever goes wrong before."""
    until = time.monotonic() + seconds
    problem: object = "it stays false"
    while time.monotonic() < until:
        try:
            if what():
                return
        except (AssertionError, OSError) as error:
            problem = error
        time.sleep(0.05)
    raise AssertionError(f"not after {seconds:g} s: {problem}")


def _start_store(network: Network) -> Machine:
    """A machine of its own, as the store of a real system is none of the three."""
    machine = network.machine("store")
    machine.power_on()
    network.plug_in(machine, STORE)
    command = ["redis-server", "--bind", STORE, "--save", "", "--protected-mode", "no"]
    machine.start("redis", command, is_ready=_store_listens).wait_ready()
    return machine


def _store_listens() -> bool:
    socket.create_connection((STORE, 6379), 1).close()
    return True
