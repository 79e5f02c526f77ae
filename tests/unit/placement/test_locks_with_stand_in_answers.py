"""What locks make of answers that neither Consul nor etcd gives; the servers are stand-ins."""

from __future__ import annotations

from typing import Any

import pytest

from dapr_common.lease import Record, StoreError
from dapr_placement.locks.consul import ConsulLease
from dapr_placement.locks.etcd import EtcdLease


class StandInServers:
    """``answers`` are given in turn, the last one again and again."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)

    async def request(self, *_: Any) -> tuple[int, bytes]:
        return 200, self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"[1]", b"[{}]", b"null", b'"<html>"', b"<html>"])
async def test_whatever_consul_answers_is_a_failure_of_the_store(answer: bytes) -> None:
    servers: Any = StandInServers(answer)
    lease = ConsulLease(servers, "k", lambda: "")
    with pytest.raises(StoreError):
        await lease.read()
    with pytest.raises(StoreError):
        await lease.write(Record())


@pytest.mark.parametrize(
    "answer", [b"[]", b"null", b'"<html>"', b'{"kvs":[{}],"succeeded":true}', b'{"kvs":5}']
)
async def test_whatever_etcd_answers_is_a_failure_of_the_store(answer: bytes) -> None:
    servers: Any = StandInServers(answer)
    lease = EtcdLease(servers, "k", lambda: ("", ""))
    with pytest.raises(StoreError):
        await lease.read()
    with pytest.raises(StoreError):
        await lease.write(Record())
    with pytest.raises(StoreError):
        await EtcdLease(servers, "k", lambda: ("user", "secret")).read()
