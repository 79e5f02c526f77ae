"""Settings of Redis components that Dapr has and this client does without."""

from __future__ import annotations

import pytest

from dapr_sidecar.components.metadata import SettingsError, decode_settings, unknown_names
from dapr_sidecar.components.registry import component_class

TYPES = ("bindings.redis", "configuration.redis", "lock.redis", "pubsub.redis", "state.redis")
POOL = ("poolSize", "poolTimeout", "minIdleConns", "maxConnAge", "idleTimeout")


@pytest.mark.parametrize("type_", TYPES)
def test_fields_of_the_pool_are_known(type_: str) -> None:
    kind = component_class(type_, "v1").settings
    names = (*POOL, "idleCheckFrequency", "useEntraID")
    assert unknown_names(kind, names) == {}
    given = dict.fromkeys(POOL, "5m") | {"redisHost": "a", "useEntraID": "false"}
    assert decode_settings(kind, given).host == "a"


@pytest.mark.parametrize("type_", TYPES)
def test_a_login_that_cannot_be_is_no_login_without_words(type_: str) -> None:
    kind = component_class(type_, "v1").settings
    with pytest.raises(SettingsError, match="useEntraID"):
        decode_settings(kind, {"redisHost": "a", "useEntraID": "true"})


@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "1e30", "1e999"])
def test_numbers_that_are_no_duration(text: str) -> None:
    kind = component_class("pubsub.redis", "v1").settings
    with pytest.raises(SettingsError, match="invalid metadata field 'processingTimeout'"):
        decode_settings(kind, {"redisHost": "a", "processingTimeout": text})
