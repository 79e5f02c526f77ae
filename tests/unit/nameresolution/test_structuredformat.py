from __future__ import annotations

import json
from pathlib import Path

import pytest

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import decode_settings
from dapr_sidecar.components.nameresolution.structuredformat import (
    StructuredFormatSettings,
    StructuredResolver,
)

LIST = {
    "appInstances": {
        "shop": [
            {"domain": "shop.example", "ipv4": "10.0.0.1", "port": 80},
            {"ipv4": "10.0.0.2", "port": 50002},
            {"domain": "", "ipv6": "fd00::1", "port": 50002},
        ],
        "empty": [],
    }
}
YAML = "appInstances:\n  shop:\n  - {domain: localhost, port: 1}\n"


def resolver(**given: str) -> StructuredResolver:
    settings = decode_settings(StructuredFormatSettings, given)
    return StructuredResolver(settings, ComponentContext("structuredformat", "me"))


async def test_all_addresses_of_a_list_are_used() -> None:
    made = resolver(structuredType="JSON", stringValue=json.dumps(LIST))
    await made.open()
    found = {await made.resolve("shop", "any", 0) for _ in range(100)}
    assert found == {"shop.example:80", "10.0.0.2:50002", "[fd00::1]:50002"}
    for app_id in ("empty", "nobody"):
        with pytest.raises(LookupError, match=f"no addresses found for app id '{app_id}'"):
            await made.resolve(app_id, "", 0)


async def test_every_kind_of_document(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(YAML)
    (tmp_path / "a.json").write_text(json.dumps(LIST))
    for given in (
        {"structuredType": "yaml", "stringValue": YAML},
        {"structuredType": "yamlFile", "filePath": str(tmp_path / "a.yaml")},
        {"structuredType": "jsonFile", "filePath": str(tmp_path / "a.json")},
    ):
        made = resolver(**given)
        await made.open()
        assert await made.resolve("shop", "", 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("{", "invalid 'stringValue': "),
        ("a: [", "invalid 'stringValue': "),
        ("[]", "has no mapping 'appInstances'"),
        ("appInstances: {a: 1}", "appInstances.a must be a list of addresses, not a number"),
        ("appInstances: {a: [{port: 1}]}", r"appInstances.a\[0\]: one of domain, ipv4 and ipv6"),
        ("appInstances: {a: [x]}", r"appInstances.a\[0\]: one of domain, ipv4 and ipv6"),
        ("appInstances: {a: [{ipv4: 1.1.1.1, port: 0}]}", r"port must be a number from 1 to 65535"),
        ("appInstances: {a: [{ipv4: 1.1.1.1}]}", "port must be a number .* not None"),
    ],
)
async def test_lists_that_are_no_use(value: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        await resolver(structuredType="yaml", stringValue=value).open()


async def test_a_file_that_is_not_there() -> None:
    made = resolver(structuredType="jsonFile", filePath="/nowhere/a.json")
    with pytest.raises(ValueError, match=r"invalid 'filePath': /nowhere/a.json: No such file"):
        await made.open()
