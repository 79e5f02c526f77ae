"""Options of the token validator ``jwks`` as people write them."""

from __future__ import annotations

import pytest

from dapr_sentry.validators.base import ValidatorError
from dapr_sentry.validators.jwks import JwksOptions

DEFAULTS = JwksOptions("x")


def test_names_in_any_case() -> None:
    given = {"SOURCE": " https://keys ", "cacertificate": "/ca", "MinRefreshInterval": "2m"}
    assert JwksOptions.read({**given, "requesttimeout": "5s"}) == JwksOptions(
        "https://keys", "/ca", 120.0, 5.0
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("90", 90.0), (90, 90.0), ("1m30s", 90.0), ("1500ms", 1.5), (" 7 ", 7.0)],
)
def test_durations(value: object, seconds: float) -> None:
    assert JwksOptions.read({"source": "x", "minRefreshInterval": value}) == JwksOptions(
        "x", "", seconds, DEFAULTS.request_timeout
    )


@pytest.mark.parametrize(
    ("refresh", "timeout"), [("1s", "1ms"), ("0", "0"), ("-5s", "-5s"), ("", ""), (None, None)]
)
def test_too_short_is_the_default(refresh: object, timeout: object) -> None:
    given = {"source": "x", "minRefreshInterval": refresh, "requestTimeout": timeout}
    assert JwksOptions.read(given) == DEFAULTS


@pytest.mark.parametrize("options", [{}, {"source": ""}, {"source": None}])
def test_a_source_is_needed(options: dict[str, object]) -> None:
    with pytest.raises(ValidatorError, match="option 'source' is required"):
        JwksOptions.read(options)


@pytest.mark.parametrize("value", ["soon", "1.5", "9" * 400, True])
def test_durations_that_are_none(value: object) -> None:
    with pytest.raises(ValidatorError, match="invalid option 'requestTimeout'"):
        JwksOptions.read({"source": "x", "requestTimeout": value})


def test_unknown_options_are_said(caplog: pytest.LogCaptureFixture) -> None:
    assert JwksOptions.read({"source": "x", "Issuer": "y"}) == DEFAULTS
    assert "unknown option 'Issuer' is ignored" in caplog.text
