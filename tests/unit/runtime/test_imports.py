"""What a sidecar outside of Kubernetes does not carry around."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "aiohttp",
    "cryptography",
    "dapr_common.kube.client",
    "dapr_common.kube.login",
    "dapr_common.wire.dapr.proto.operator",
    "dapr_common.wire.daprpy.operator",
    "dapr_sidecar.runtime.cluster",
    "dapr_sidecar.runtime.operator_client",
    "dapr_sidecar.runtime.operator_source",
    "dapr_sidecar.runtime.security",
    "dapr_sidecar.runtime.status_reports",
)


def test_nothing_of_a_cluster_is_imported() -> None:
    script = (
        "import sys; import dapr_sidecar.__main__, dapr_sidecar.runtime.runtime;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
