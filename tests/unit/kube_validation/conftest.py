"""Objects with one thing wrong, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from dapr_common.kube.validation.objects import validate

Said = list[str]


def _body(kind: str, text: str, version: str = "v1alpha1") -> dict[str, Any]:
    return {
        "apiVersion": f"dapr.io/{version}",
        "kind": kind,
        "metadata": {"name": "it"},
        "spec": yaml.safe_load(text),
    }


def _said(kind: str, text: str, version: str = "v1alpha1") -> Said:
    """The problems of a spec given as YAML; warnings are marked."""
    found = validate(_body(kind, text, version))
    return [str(one) if one.severity == "error" else f"warning: {one}" for one in found]


@pytest.fixture(scope="session")
def said() -> Callable[..., Said]:
    """``said(kind, spec as YAML, version)``."""
    return _said


@pytest.fixture(scope="session")
def make_body() -> Callable[..., dict[str, Any]]:
    """``make_body(kind, spec as YAML, version)``."""
    return _body
