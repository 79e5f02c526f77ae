"""What keeps a sidecar from taking traffic."""

from __future__ import annotations

from dapr_sidecar.runtime.readiness import SidecarReadiness


def test_components_are_named_with_what_is_wrong() -> None:
    readiness = SidecarReadiness(("runtime",))
    readiness.ready("runtime")
    assert readiness.is_ready
    readiness.missing_components({"db": "refused", "bus": "no host"})
    assert not readiness.is_ready
    assert readiness.missing() == ["component db (refused)", "component bus (no host)"]
    readiness.unready("runtime")
    readiness.missing_components({"bus": "no host"})
    assert readiness.missing() == ["runtime", "component bus (no host)"]
    readiness.missing_components({})
    assert readiness.missing() == ["runtime"]
