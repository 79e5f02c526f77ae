"""Calls under way are bounded, of all and of one host."""

from __future__ import annotations

import pytest

from dapr_common.errors import GrpcCode
from dapr_common.grpc.context import Context
from dapr_common.grpc.errors import RpcError
from dapr_sentry.admission import Admission


def call(peer: str) -> Context:
    return Context(None, "/a/B", [], peer, None)


def end(admission: Admission, context: Context) -> None:
    admission.after(context, GrpcCode.OK, 1.0, 0, 0)


def begin(admission: Admission, peer: str) -> Context:
    context = call(peer)
    admission.before(context, None)
    return context


def test_all_calls_together() -> None:
    admission = Admission(3, 2)
    first = begin(admission, "10.0.0.1:1")
    for number in (2, 3):
        begin(admission, f"10.0.0.{number}:1")
    late = call("[::1]:9")
    with pytest.raises(RpcError) as caught:
        admission.before(late, None)
    assert caught.value.code == GrpcCode.UNAVAILABLE
    end(admission, late)  # a refused call ends, too, and frees nothing
    with pytest.raises(RpcError):
        begin(admission, "[::1]:9")
    end(admission, first)
    begin(admission, "[::1]:9")


def test_one_host_keeps_nobody_else_out() -> None:
    admission = Admission(10, 2)
    mine = [begin(admission, f"10.0.0.1:{port}") for port in (1, 2)]
    with pytest.raises(RpcError):
        begin(admission, "10.0.0.1:3")
    begin(admission, "10.0.0.11:3")
    for context in mine:
        end(admission, context)
        end(admission, context)  # twice counts once
    begin(admission, "10.0.0.1:3")
    begin(admission, "10.0.0.1:4")
    with pytest.raises(RpcError):
        begin(admission, "10.0.0.1:5")
