"""Configuration files: merging, defaults, and what cannot be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dapr_sidecar.runtime.configuration import ConfigurationError, enabled_features, load_files

HEAD = "apiVersion: dapr.io/v1alpha1\nkind: Configuration"


def write(tmp_path: Path, *specs: str) -> list[str]:
    paths = []
    for number, spec in enumerate(specs):
        path = tmp_path / f"{number}.yaml"
        path.write_text(f"{HEAD}\nmetadata: {{name: c{number}}}\n{spec}\n")
        paths.append(str(path))
    return paths


def test_later_files_win_and_variables_are_filled_in(tmp_path: Path) -> None:
    paths = write(
        tmp_path,
        "spec: {tracing: {samplingRate: '1', zipkin: {endpointAddress: $HOST}}}",
        "spec: {tracing: {samplingRate: 0.5}, features: [{name: HotReload, enabled: false}]}",
    )
    found = load_files(paths, {"HOST": "http://z"})
    assert found.name == "c1"
    assert found.spec["tracing"] == {
        "samplingRate": 0.5,
        "zipkin": {"endpointAddress": "http://z"},
    }
    assert "HotReload" not in enabled_features(found)
    assert "HotReload" in enabled_features(load_files([], {}))


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ("spec: 5", "spec must be a mapping, not a number"),
        ("spec: {features: x}", "spec.features must be a list, not a text"),
        (
            "spec: {features: [{name: a, enabled: 'no'}]}",
            "spec.features[0].enabled must be true or",
        ),
        ("spec: {tracing: 5}", "spec.tracing must be a mapping"),
        ("spec: {tracing: {samplingRate: [1]}}", "spec.tracing.samplingRate must be a text"),
        ("spec: {metric: {latencyDistributionBuckets: [a]}}", "Buckets[0] must be a whole number"),
        ("spec: {metrics: {http: {pathMatching: /a}}}", "pathMatching must be a list"),
        ("spec: {api: {allowed: [state]}}", "spec.api.allowed[0] must be a mapping"),
        ("spec: {secrets: {scopes: {}}}", "spec.secrets.scopes must be a list"),
        ("spec: {httpPipeline: {handlers: 1}}", "handlers must be a list"),
        ("spec: {accessControl: {policies: [{operations: [1]}]}}", "operations[0] must be a"),
        ("spec: {nameResolution: {configuration: 1}}", "configuration must be a mapping"),
        ("spec: {components: {deny: [{}]}}", "deny[0] must be a text"),
        (
            "spec: {secrets: {scopes: [{storeName: s}, {storeName: s}]}}",
            "s storeName is repeated",
        ),
        (
            "spec: {secrets: {scopes: [{storeName: s, allowedSecrets: [a], deniedSecrets: [a]}]}}",
            "both allowedSecrets and deniedSecrets",
        ),
        ("spec: [", "yaml cannot be parsed"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, spec: str, where: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(where)):
        load_files(write(tmp_path, spec), {})


def test_files_that_are_missing_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        load_files([str(tmp_path / "no.yaml")], {})
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="utf-8"):
        load_files([str(tmp_path / "b.yaml")], {})
    with pytest.raises(ConfigurationError, match="directory"):
        load_files([str(tmp_path)], {})


def test_a_file_without_a_configuration_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "c.yaml").write_text("kind: Component\n---\n- 1\n")
    load_files([str(tmp_path / "c.yaml")], {})
    assert "holds no Configuration" in caplog.text
