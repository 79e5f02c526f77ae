from __future__ import annotations

import pytest
from harness.block_api import SERVICE, Answer, HttpApi, grpc_api, loaded, make_context
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.kube import resources
from dapr_common.wire.dapr.proto.runtime.v1 import lock_pb2
from dapr_sidecar.api.grpc.lock import methods
from dapr_sidecar.api.http.lock import routes
from dapr_sidecar.blocks.lock import LockBlock
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.lock.base import LockStore, UnlockStatus
from dapr_sidecar.components.metadata import SettingsError

GOOD = {"resourceId": "r", "lockOwner": "o", "expiryInSeconds": 60}


class FakeLocks(LockStore):
    def __init__(self) -> None:
        super().__init__(None, ComponentContext("lk", "app1"))
        self.held: dict[str, str] = {}
        self.failure: Exception | None = None

    async def try_lock(self, resource_id: str, owner: str, expiry_seconds: int) -> bool:
        if self.failure:
            raise self.failure
        return self.held.setdefault(resource_id, owner) == owner

    async def unlock(self, resource_id: str, owner: str) -> UnlockStatus:
        if self.failure:
            raise self.failure
        if resource_id not in self.held:
            return UnlockStatus.LOCK_DOES_NOT_EXIST
        if self.held[resource_id] != owner:
            return UnlockStatus.LOCK_BELONGS_TO_OTHERS
        del self.held[resource_id]
        return UnlockStatus.SUCCESS


@pytest.fixture
def locks() -> FakeLocks:
    return FakeLocks()


@pytest.fixture
def block(locks: FakeLocks) -> LockBlock:
    found = LockBlock(make_context())
    extra = found.prepare(resources.Component("lk", "lock.x"), {})
    found.context.components.locks["lk"] = loaded("lk", locks, extra)
    return found


@pytest.fixture
def api(block: LockBlock) -> HttpApi:
    return HttpApi(routes(block))


async def lock(api: HttpApi, body: object, store: str = "lk") -> Answer:
    return await api.call("POST", f"/v1.0-alpha1/lock/{store}", body)


async def unlock(api: HttpApi, body: object, store: str = "lk") -> Answer:
    return await api.call("POST", f"/v1.0-alpha1/unlock/{store}", body)


async def test_lock_and_unlock(api: HttpApi, locks: FakeLocks) -> None:
    assert (await lock(api, GOOD)).body == b'{"success":true}'
    assert locks.held == {"lock||app1||r": "o"}
    other = {**GOOD, "lockOwner": "p"}
    assert (await lock(api, other)).body == b'{"success":false}'
    assert (await unlock(api, other)).body == b'{"status":2}'
    assert (await unlock(api, GOOD)).body == b'{"status":0}'
    assert (await unlock(api, GOOD)).body == b'{"status":1}'


async def test_names_may_be_snake_case_and_the_path_decides(api: HttpApi, locks: FakeLocks) -> None:
    body = {
        "resource_id": "r",
        "lock_owner": "o",
        "expiry_in_seconds": 1,
        "storeName": "other",
        "unknown": [1],
    }
    assert (await lock(api, body)).json == {"success": True}
    assert locks.held == {"lock||app1||r": "o"}


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_only_post_is_routed(api: HttpApi, method: str) -> None:
    assert (await api.call(method, "/v1.0-alpha1/lock/lk", GOOD)).body == b"no route"


BAD = "ERR_MALFORMED_REQUEST"


@pytest.mark.parametrize(
    ("store", "changes", "code", "text"),
    [
        ("no", {"expiryInSeconds": 0, "resourceId": ""}, BAD, "ExpiryInSeconds is not positive"),
        ("no", {"expiryInSeconds": -1}, BAD, "ExpiryInSeconds is not positive in lock store no"),
        ("no", {"resourceId": "", "lockOwner": ""}, BAD, "ResourceId is empty in lock store no"),
        ("no", {"lockOwner": ""}, BAD, "LockOwner is empty in lock store no"),
        ("no", {}, "ERR_LOCK_STORE_NOT_FOUND", "lock store no not found"),
    ],
)
async def test_what_is_checked_in_order(
    api: HttpApi, store: str, changes: dict[str, object], code: str, text: str
) -> None:
    status, found, message = (await lock(api, {**GOOD, **changes}, store)).error
    assert (status, found) == (400, code)
    assert message.startswith(text)
    if "expiryInSeconds" not in changes:
        assert (await unlock(api, {**GOOD, **changes}, store)).error == (400, code, message)


async def test_no_store_at_all() -> None:
    api = HttpApi(routes(LockBlock(make_context())))
    expected = (500, "ERR_LOCK_STORE_NOT_CONFIGURED", "lock store is not configured")
    assert (await lock(api, {**GOOD, "resourceId": ""})).error == expected
    assert (await unlock(api, {})).error == expected
    assert (await lock(api, b"")).error[1] == "ERR_MALFORMED_REQUEST"


async def test_failures(api: HttpApi, locks: FakeLocks) -> None:
    text = "input key/keyPrefix 'a||b' can't contain '||'"
    body = {**GOOD, "resourceId": "a||b"}
    expected = (500, "ERR_TRY_LOCK", f"failed to try acquiring lock: {text}")
    assert (await lock(api, body)).error == expected
    assert (await unlock(api, body)).error == (
        500,
        "ERR_UNLOCK",
        f"failed to release lock: {text}",
    )
    locks.failure = OSError("down")
    assert (await lock(api, GOOD)).error[2] == "failed to try acquiring lock: down"
    assert (await unlock(api, GOOD)).error[2] == "failed to release lock: down"


@pytest.mark.parametrize(
    "body", [b"{oops", b"[]", b'{"expiryInSeconds":"soon"}', b'{"resourceId":1}', b"\xff"]
)
async def test_malformed_bodies(api: HttpApi, body: bytes) -> None:
    status, code, message = (await lock(api, body)).error
    assert (status, code) == (400, "ERR_MALFORMED_REQUEST")
    assert message.startswith("failed deserializing HTTP body: ")


@pytest.mark.parametrize(
    ("properties", "prefix"),
    [
        ({}, "lock||app1||"),
        ({"keyprefix": ""}, "lock||app1||"),
        ({"keyprefix": "APPID"}, "lock||app1||"),
        ({"keyprefix": "Name"}, "lock||Store||"),
        ({"keyprefix": "none"}, "lock||"),
        ({"keyprefix": "Mine"}, "lock||mine||"),
        ({"keyprefix": "namespace"}, "lock||namespace||"),
    ],
)
def test_prefixes(block: LockBlock, properties: dict[str, str], prefix: str) -> None:
    assert block.prepare(resources.Component("Store", "lock.x"), properties) == prefix


def test_a_prefix_that_is_none(block: LockBlock) -> None:
    with pytest.raises(SettingsError, match="keyPrefix"):
        block.prepare(resources.Component("s", "lock.x"), {"keyprefix": "a||b"})


@given(prefix=st.text("ab|", max_size=4), key=st.text("ab|", max_size=4))
def test_no_two_resources_share_a_key(prefix: str, key: str) -> None:
    block = LockBlock(make_context())
    if "||" in prefix or "||" in key:
        return
    found = block.prepare(resources.Component("s", "lock.x"), {"keyprefix": f"x{prefix}x"})
    assert (found + f"x{key}x").split("||") == ["lock", f"x{prefix}x", f"x{key}x"]


async def test_grpc(block: LockBlock) -> None:
    async with grpc_api(methods(block)) as channel:
        request = lock_pb2.TryLockRequest(
            store_name="lk", resource_id="r", lock_owner="o", expiry_in_seconds=1
        )
        name = SERVICE + "TryLockAlpha1"
        got = await channel.unary(name, request, lock_pb2.TryLockResponse)
        assert got.message.success is True
        freed = await channel.unary(
            SERVICE + "UnlockAlpha1",
            lock_pb2.UnlockRequest(store_name="lk", resource_id="r", lock_owner="p"),
            lock_pb2.UnlockResponse,
        )
        assert freed.message.status == lock_pb2.UnlockResponse.LOCK_BELONGS_TO_OTHERS
        request.expiry_in_seconds = 0
        with pytest.raises(RpcError) as caught:
            await channel.unary(name, request, lock_pb2.TryLockResponse)
        assert caught.value.code is GrpcCode.INVALID_ARGUMENT
