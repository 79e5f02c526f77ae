from __future__ import annotations

import ipaddress

import pytest

from dapr_common.aio import host
from dapr_common.aio.host import NoHostAddressError, host_address, join_host_port


def test_the_environment_decides() -> None:
    assert host_address({"DAPR_HOST_IP": "10.1.2.3"}) == "10.1.2.3"
    assert host_address({"DAPR_HOST_IP": " [fd00::1] "}) == "fd00::1"


def test_an_address_of_this_machine_is_one() -> None:
    try:
        found = host_address({})
    except NoHostAddressError:
        pytest.skip("this machine has no address but loopback")
    assert not ipaddress.ip_address(found).is_loopback


def test_without_a_route_the_most_widely_reachable_address(monkeypatch: pytest.MonkeyPatch) -> None:
    v4 = ["127.0.0.1", "169.254.1.1", "10.0.0.5"]
    v6 = ["::1", "fe80::1", "fd00::1", "2a00::1"]
    monkeypatch.setattr(host, "_PROBES", ())
    monkeypatch.setattr(host, "_ipv4_addresses", lambda: list(v4))
    monkeypatch.setattr(host, "_ipv6_addresses", lambda: list(v6))
    assert host_address({}) == "2a00::1"
    v6.remove("2a00::1")
    assert host_address({}) == "10.0.0.5"
    v4.remove("10.0.0.5")
    assert host_address({}) == "fd00::1"
    v6.remove("fd00::1")
    assert host_address({}) == "169.254.1.1"
    v4[:], v6[:] = ["127.0.0.1"], ["::1"]
    with pytest.raises(NoHostAddressError, match="set DAPR_HOST_IP"):
        host_address({})


def test_own_addresses_are_addresses() -> None:
    for text in [*host._ipv4_addresses(), *host._ipv6_addresses()]:
        ipaddress.ip_address(text)
    assert "127.0.0.1" in host._ipv4_addresses()


def test_host_and_port() -> None:
    assert join_host_port("10.0.0.1", 80) == "10.0.0.1:80"
    assert join_host_port("::1", 80) == "[::1]:80"
