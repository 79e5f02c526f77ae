"""The reference's worked cases: the pod that comes in, the response and the patch that go out.

They live beside the project, not in it; without them the neighbours of this file cover the same
ground in their own cases.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REFERENCE = Path(__file__).parents[4] / "shared" / "reference" / "contract" / "injector-golden.json"
GOLDEN: dict[str, Any] = json.loads(REFERENCE.read_bytes()) if REFERENCE.exists() else {"cases": []}
CASES: list[dict[str, Any]] = GOLDEN["cases"]

pytestmark = pytest.mark.skipif(not CASES, reason="injector-golden.json is not here")


def without_defect(patch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A patch without the one defect of the reference.

    There a second ``add /spec/volumes`` replaces the identity's volume; it ought to append.
    """
    corrected: list[dict[str, Any]] = []
    for operation in patch:
        again = any(before["path"] == "/spec/volumes" for before in corrected)
        if again and operation["path"] == "/spec/volumes":
            (volume,) = operation["value"]
            corrected.append(operation | {"path": "/spec/volumes/-", "value": volume})
        else:
            corrected.append(operation)
    return corrected


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_the_case_is_answered_as_in_the_reference(
    case: dict[str, Any],
    admit: Callable[..., Any],
    make_settings: Callable[..., Any],
    apply_patch: Callable[..., Any],
) -> None:
    defaults = GOLDEN["defaults"]
    flags = ["--scheduler-enabled=false"] if case.get("schedulerDisabled") else []
    mtls = case.get("daprsystem", {}).get("spec", {}).get("mtls", {}).get("enabled", True)
    user = {
        "username": case.get("username", defaults["username"]),
        "groups": case.get("groups", []),
    }

    admitted = admit(
        case["pod"],
        settings=make_settings(GOLDEN["baseEnv"] | case.get("env", {}), *flags),
        facts={
            "trust_anchors": defaults["trustAnchors"],
            "mtls_enabled": mtls,
            "has_identity_token": defaults["identityTokenPresent"],
            "components": case.get("components", []),
        },
        kind={"kind": case.get("kind", defaults["kind"])},
        namespace=case.get("namespace", defaults["requestNamespace"]),
        userInfo=user,
    )

    wanted, response = case["response"], admitted.response
    assert response["allowed"] is wanted["allowed"]
    assert response.get("patchType") == wanted.get("patchType")
    assert response.get("status", {}).get("message") == wanted.get("message")
    patch = case.get("patch", [])
    assert admitted.patch == without_defect(patch)
    if patch == without_defect(patch):
        assert admitted.pod == case.get("resultPod", case["pod"])
    else:
        assert admitted.pod == apply_patch(case["pod"], without_defect(patch))


def test_two_cases_have_the_defect() -> None:
    noted = [case["name"] for case in CASES if "KNOWN DEFECT" in case.get("note", "")]
    changed = [
        case["name"]
        for case in CASES
        if without_defect(case.get("patch", [])) != case.get("patch", [])
    ]
    assert changed == noted
    assert len(changed) == 2
