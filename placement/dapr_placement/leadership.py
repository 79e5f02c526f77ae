"""Which of several placement servers leads: what they agree by, as the settings say."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from dapr_common.aio.run import FatalError
from dapr_common.lease import Lead, Lease, LeaseStore, Pace, StoreError
from dapr_placement.locks.consul import ConsulLease
from dapr_placement.locks.etcd import EtcdLease
from dapr_placement.locks.servers import Servers
from dapr_placement.settings import LockSettings, Settings

NAME = "placement.dapr.io"
_WORKLOAD = "dapr-placement-server"
_WHO = "placement server"
# Sidecars cannot use actors while nobody leads: others take over after 10 s at the latest.
_PACE = Pace(life=10.0, renew=1.0, give_up=6.0)


class Leadership(Protocol):
    """Who leads, and for how long."""

    def is_held(self) -> bool:
        """Whether this server may act as the leader at this moment."""
        ...

    async def run(self, lead: Lead) -> None:
        """Lead whenever this server may, until cancelled."""
        ...


class Alone:
    """Of a server that is the only one."""

    def is_held(self) -> bool:
        return True

    async def run(self, lead: Lead) -> None:
        """Lead at once."""
        await lead()


@asynccontextmanager
async def leadership(settings: Settings) -> AsyncIterator[Leadership]:
    """What the settings ask for. Raises ``FatalError``."""
    if settings.lock is not None:
        store = _store(settings.lock)
        try:
            yield _lease(store)
        finally:
            await store.close()
    elif settings.kubernetes:
        async with _kubernetes(settings) as kept:
            yield _lease(kept)
    else:
        yield Alone()


def _lease(store: LeaseStore) -> Lease:
    return Lease(store, _WHO, pace=_PACE)


@asynccontextmanager
async def _kubernetes(settings: Settings) -> AsyncIterator[LeaseStore]:
    from dapr_common.kube.api_errors import LoginError
    from dapr_common.kube.client import KubeClient
    from dapr_common.kube.kinds import Kind
    from dapr_common.kube.lease import KubeLease, workload_as_owner
    from dapr_common.kube.login import find_login

    try:
        login = find_login(settings.kubeconfig)
    except LoginError as error:
        raise FatalError(str(error)) from error
    where = settings.namespace
    async with KubeClient(login) as client:
        kind = Kind("apps", "v1", "statefulsets")
        owners = await workload_as_owner(client, kind, "StatefulSet", _WORKLOAD, where)
        yield KubeLease(client, where, NAME, owners)


def _store(lock: LockSettings) -> ConsulLease | EtcdLease:
    address = lock.address
    servers = Servers(address.servers, _tls(lock) if address.secured else None)
    if address.system == "consul":
        return ConsulLease(servers, address.key, lambda: _read(lock.token_file))
    return EtcdLease(servers, address.key, lambda: _credentials(lock.password_file))


def _tls(lock: LockSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=lock.ca_file or None)
        if lock.cert_file:
            context.load_cert_chain(lock.cert_file, lock.key_file)
    except OSError as error:  # SSLError among them
        raise FatalError(f"the --leader-lock-*-file files cannot be used: {error}") from error
    return context


def _credentials(path: str) -> tuple[str, str]:
    name, separator, password = _read(path).partition(":")
    if path and not (name and separator):
        raise StoreError(f"--leader-lock-password-file {path}: expected name:password")
    return name, password


def _read(path: str) -> str:
    """A small file that somebody may renew, as it is now. Raises ``StoreError``."""
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
