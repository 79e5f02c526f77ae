"""The warning of commands with -k about a root certificate that ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dapr_cli.console import Console
from dapr_cli.kube.cluster import _warn

ENDS = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
DATE = "on Wed, 04 Mar 2026 05:06:07 UTC"


@pytest.mark.parametrize(
    ("left", "when"),
    [
        (timedelta(days=30), None),
        (timedelta(days=30, seconds=-1), "expires in 29 days"),
        (timedelta(hours=23), "expires in 0 days"),
        (timedelta(0), "has expired"),
        (timedelta(days=-9), "has expired"),
    ],
)
def test_when_it_is_said(
    left: timedelta, when: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    _warn(left, ENDS, Console())
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"⚠  The root certificate of Dapr in your Kubernetes cluster {when}, {DATE}: renew it "
        "with 'dapr mtls renew-certificate -k'\n"
        if when
        else ""
    )
