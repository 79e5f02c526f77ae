"""The chart is well-formed, and its renderings are the ones that were looked at."""

from __future__ import annotations

import difflib
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from .conftest import CHART, ROOT, SETTINGS

GOLDEN = ROOT / "tests" / "golden" / "chart"


def test_helm_finds_nothing_to_warn_of(helm: str) -> None:
    command = [helm, "lint", "--strict", "--quiet", str(CHART)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SETTINGS)
def test_rendering_is_the_one_that_was_looked_at(
    name: str, render_text: Callable[..., str], pytestconfig: pytest.Config
) -> None:
    golden = golden_of(name)
    rendered = lines(render_text(*SETTINGS[name]))
    if name != "default":
        rendered = difference(lines(render_text()), rendered)
    if pytestconfig.getoption("--update"):
        golden.write_text("".join(rendered), encoding="utf-8")
    assert rendered == golden.read_text(encoding="utf-8").splitlines(keepends=True)


def test_no_rendering_is_forgotten() -> None:
    assert set(GOLDEN.iterdir()) == {golden_of(name) for name in SETTINGS}


def golden_of(name: str) -> Path:
    """One file whole, the others as what differs from it."""
    return GOLDEN / ("default.yaml" if name == "default" else f"{name}.diff")


def lines(text: str) -> list[str]:
    return [f"{line.rstrip()}\n" for line in text.splitlines()]


def difference(before: list[str], after: list[str]) -> list[str]:
    found = difflib.unified_diff(before, after, "default", "rendered", n=2)
    # Line numbers change with everything above them.
    return ["@@\n" if line.startswith("@@") else f"{line.rstrip()}\n" for line in found]


def test_one_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for path in [CHART / "Chart.yaml", *CHART.glob("charts/*/Chart.yaml")]:
        chart = yaml.safe_load(path.read_text(encoding="utf-8"))
        versions = {chart["version"], chart["appVersion"]}
        versions |= {each["version"] for each in chart.get("dependencies", ())}
        assert versions == {project["version"]}, path
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert values["global"]["tag"] == project["version"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("global.ha.enabled=true", "global.ha.podAntiAffinityPolicy=maybe"), '"maybe"'),
        (("dapr_sidecar_injector.sidecarRunAsUser=0",), "above 0"),
        (
            (
                "dapr_sidecar_injector.sidecarRunAsNonRoot=false",
                "dapr_sidecar_injector.sidecarRunAsUser=5",
            ),
            "must be 0",
        ),
        (("dapr_sentry.tls.issuer.certPEM=x",), "need each other"),
        (("dapr_sentry.tls.issuer.certPEM=x", "dapr_sentry.tls.issuer.keyPEM=y"), "root.certPEM"),
        (
            ("global.rbac.namespaced=true", "dapr_operator.watchNamespace=shop"),
            "dapr_operator.watchNamespace is another namespace",
        ),
    ],
)
def test_values_that_cannot_be_are_refused_in_words(
    settings: tuple[str, ...], said: str, render_text: Callable[..., str]
) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        render_text(*settings)
    assert said in refused.value.stderr
