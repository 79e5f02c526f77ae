"""The sidecar of a cluster finds the placement server that leads behind one DNS name."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.backends import require
from harness.dns_server import run_in_own_network


@pytest.mark.slow
def test_a_headless_name_stands_for_several_servers_and_later_for_others(tmp_path: Path) -> None:
    require("etcd")  # nothing can be had from that network
    run_in_own_network(Path(__file__).with_name("placement_dns.py"), tmp_path, seconds=200.0)
