"""Components that wait for their secret store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from harness.block_api import make_context

from dapr_common.kube.resources import Component, NameValue, SecretKeyRef
from dapr_sidecar.runtime.processor import ComponentProcessor, InitError
from dapr_sidecar.runtime.templates import ValueResolver


def waiting(name: str, kind: str) -> Component:
    reference = NameValue("any", secret_key_ref=SecretKeyRef("s", "s"))
    return Component(name, kind, metadata=(reference,), secret_store="vault")


async def test_one_that_fails_keeps_no_other_from_loading(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.json"
    secrets.write_text(json.dumps({"s": "1"}))
    context = make_context()
    processor = ComponentProcessor(context, ValueResolver("app", "", {}), {})
    bad, good = waiting("bad", "state.nope"), waiting("good", "state.in-memory")
    assert await processor.load(bad) == []
    assert await processor.load(good) == []

    store = NameValue("secretsFile", str(secrets))
    with pytest.raises(InitError, match=r"for bad \(state.nope/v1\)") as caught:
        await processor.load(Component("vault", "secretstores.local.file", metadata=(store,)))

    assert caught.value.loaded == [good]
    assert "good" in context.components.state
    await processor.close()
