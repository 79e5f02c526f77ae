"""Manifests written for Dapr: none is refused that a sidecar could use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dapr_common.kube.manifests import split_documents
from dapr_common.kube.validation.objects import validate
from dapr_common.kube.yaml_text import load_yaml

MANIFESTS = Path(__file__).parents[2] / "data" / "manifests"
# Those show what a CRD takes; a sidecar would not start with them.
UNUSABLE = {
    ("Component", "oauth2"): [
        "spec.metadata: clientSecret is required by middleware.http.oauth2",
        "spec.metadata: authURL is required by middleware.http.oauth2",
        "spec.metadata: tokenURL is required by middleware.http.oauth2",
    ],
    ("Configuration", "access"): [
        "spec.accessControl.policies[1].namespace: is required",
        "spec.accessControl.policies[1].trustDomain: is required",
    ],
}


def bodies() -> list[Any]:
    found = [
        load_yaml(text)
        for path in sorted(MANIFESTS.glob("*.yaml"))
        for text in split_documents(path.read_text())
    ]
    return [pytest.param(body, id=f"{body['kind']}-{body['metadata']['name']}") for body in found]


@pytest.mark.parametrize("body", bodies())
def test_nothing_usable_is_refused(body: dict[str, Any]) -> None:
    errors = [str(one) for one in validate(body) if one.severity == "error"]
    assert errors == UNUSABLE.get((body["kind"], body["metadata"]["name"]), [])
