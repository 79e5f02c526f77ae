"""``spec.mtls`` of a Configuration."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dapr_sentry.configuration import (
    Configuration,
    ConfigurationError,
    TokenValidator,
    from_spec,
    load_file,
)


def mtls(**fields: Any) -> Configuration:
    return from_spec({"mtls": fields}, "cfg.yaml")


@pytest.mark.parametrize("spec", [None, {}, {"mtls": None}, {"mtls": {}}, {"tracing": {}}])
def test_defaults(spec: object) -> None:
    assert from_spec(spec, "x") == Configuration(timedelta(hours=24), timedelta(minutes=15), ())


def test_durations() -> None:
    found = mtls(workloadCertTTL="1h30m", allowedClockSkew="0s")
    assert (found.ttl, found.clock_skew) == (timedelta(minutes=90), timedelta(0))


def test_token_validators() -> None:
    found = mtls(tokenValidators=[{"name": "JWKS", "options": {"source": "x"}}])
    assert found.token_validators == (TokenValidator("jwks", {"source": "x"}),)
    assert "source" not in repr(found)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"workloadCertTTL": "1 day"}, "cfg.yaml: spec.mtls.workloadCertTTL: invalid duration"),
        ({"workloadCertTTL": "0s"}, "at least 1s is needed"),
        ({"allowedClockSkew": "-1s"}, "at least 0s is needed"),
        ({"tokenValidators": "jwks"}, "expected a list"),
        ({"tokenValidators": ["jwks"]}, "expected an object"),
        ({"tokenValidators": [{"name": "Kubernetes"}]}, "kubernetes cannot be configured"),
        ({"tokenValidators": [{}]}, "unknown validator ''"),
        ({"tokenValidators": [{"name": "jwks"}, {"name": "JWKS"}]}, "jwks is there twice"),
        ({"tokenValidators": [{"name": "jwks", "options": []}]}, "expected an object"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        mtls(**fields)
    assert words in str(caught.value)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "cfg.yaml"
    path.write_text(
        "kind: Component\nspec: {mtls: {workloadCertTTL: nonsense}}\n---\n"
        "kind: Configuration\nspec: {mtls: {workloadCertTTL: 2h}}\n"
    )
    assert load_file(str(path)).ttl == timedelta(hours=2)
    path.write_text("")
    assert load_file(str(path)) == Configuration()
    path.write_text("kind: [")
    with pytest.raises(ConfigurationError, match=r"error loading configuration: .*yaml"):
        load_file(str(path))
    path.write_text("kind: Configuration\nspec: 1\n")
    with pytest.raises(ConfigurationError, match="expected an object"):
        load_file(str(path))
    for missing in (str(tmp_path / "none"), ""):
        with pytest.raises(ConfigurationError, match="error loading configuration"):
            load_file(missing)
