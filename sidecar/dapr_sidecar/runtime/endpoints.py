"""HTTPEndpoint resources with their references filled in."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

from dapr_common.kube.resources import HttpEndpoint, NameValue

ResolveValue = Callable[[HttpEndpoint, NameValue], Awaitable[NameValue]]
"""Gives the entry with its final value; ``value=None`` when there is none."""


async def resolve_endpoint(endpoint: HttpEndpoint, resolve: ResolveValue) -> HttpEndpoint:
    """The endpoint as calls use it; headers without a value are left out."""

    async def single(entry: NameValue | None) -> NameValue | None:
        return None if entry is None else await resolve(endpoint, entry)

    headers = [await resolve(endpoint, entry) for entry in endpoint.headers]
    return dataclasses.replace(
        endpoint,
        headers=tuple(header for header in headers if header.value is not None),
        root_ca=await single(endpoint.root_ca),
        certificate=await single(endpoint.certificate),
        private_key=await single(endpoint.private_key),
    )
