"""What an uninstall removes of the applications' namespaces: the operator's Services, no others."""

from __future__ import annotations

from typing import Any

import pytest

from dapr_operator.uninstalled import is_made

OWNER = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "controller": True}


def service(name: str, app_id: str | None, *owners: dict[str, Any]) -> dict[str, Any]:
    annotations = {} if app_id is None else {"dapr.io/app-id": app_id}
    return {"metadata": {"name": name, "annotations": annotations, "ownerReferences": list(owners)}}


@pytest.mark.parametrize(
    ("found", "made"),
    [
        (service("shop-dapr", "shop", OWNER), True),
        (service("shop-dapr", "shop"), False),
        (service("shop-dapr", "shop", {**OWNER, "controller": False}), False),
        (service("shop-dapr", None, OWNER), False),
        (service("shop", "shop", OWNER), False),
        ({"metadata": {"name": "shop-dapr"}}, False),
    ],
)
def test_only_services_that_the_operator_made_are_removed(
    found: dict[str, Any], made: bool
) -> None:
    assert is_made(found) is made
