"""Keys that have to be there before a crypto provider can use them, as its user would make them."""

from __future__ import annotations

import asyncio
import urllib.error
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from harness.component_table import Maker
from harness.secret_preparations import aws_call
from harness.stand_in_entra import stand_in_entra
from harness.stand_in_key_vault_keys import TOKEN, stand_in_key_vault


@asynccontextmanager
async def prepared(maker: Maker) -> AsyncIterator[None]:
    """Make keys, and start the stand-ins that an entry runs on."""
    with ExitStack() as stack:
        if maker.entry["type"] == "crypto.azure.keyvault":
            maker.variables["entra"] = stack.enter_context(stand_in_entra(TOKEN)).url
            maker.variables["vault"] = stack.enter_context(stand_in_key_vault()).url
        if maker.entry["type"] == "crypto.aws.kms":
            for name in maker.entry["keys"].values():
                await asyncio.to_thread(make_kms_key, maker.variables["backend"], name)
        yield


def make_kms_key(address: str, alias: str) -> str:
    """A symmetric key under ``alias/name``, which it gets if it is free; returns the key's id."""
    facts = {"backend": address}
    key = str(aws_call(facts, "kms", "TrentService.CreateKey")["KeyMetadata"]["KeyId"])
    try:
        aws_call(facts, "kms", "TrentService.CreateAlias", AliasName=alias, TargetKeyId=key)
    except urllib.error.HTTPError as error:
        if b"AlreadyExists" not in error.read():
            raise
    return key
