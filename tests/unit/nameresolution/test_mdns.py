from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.nameresolution.base import Instance
from dapr_sidecar.components.nameresolution.mdns import MdnsResolver, dns, records
from dapr_sidecar.components.nameresolution.mdns.cache import AddressCache
from dapr_sidecar.components.nameresolution.mdns.resolver import MdnsSettings

RECORDED = bytes.fromhex(
    "123484000000000100000003026131056c6f63616c00000c000100000c80000b08766d3a3235313638c00c"
    "c0200021000100000c800010000000000dcb02766d056c6f63616c00c0200010000100000c800003026131"
    "c03d000100010000007800040a090901"
)
A1 = records.Announcement("a1", "vm", 25168, "10.9.9.1", 3531)
ASK_A1 = dns.Message(id=0x1234, questions=[dns.Question("a1.local.")])


def test_recorded_answer_is_read() -> None:
    message = dns.parse(RECORDED)
    assert (message.id, message.flags) == (0x1234, 0x8400)
    assert records.sightings(message) == [records.Sighting("a1", 3531, "10.9.9.1")]


def test_recorded_answer_is_written_byte_for_byte() -> None:
    [(answer, alone)] = A1.answer(dns.parse(dns.build(ASK_A1)))
    assert dns.build(answer) == RECORDED
    assert not alone


def test_other_questions() -> None:
    [(answer, alone)] = A1.answer(
        dns.Message(questions=[dns.Question(A1.instance, dns.SRV, unicast=True)])
    )
    assert alone
    assert answer.answers == [
        dns.Record(A1.instance, dns.SRV, 3200, dns.Service(3531, "vm.local."), flush=True),
        dns.Record(A1.instance, dns.TXT, 3200, (b"a1",), flush=True),
        dns.Record("a1.local.", dns.PTR, 3200, "vm:25168.a1.local."),
        dns.Record(records.SERVICES, dns.PTR, 3200, "a1.local."),
        dns.Record("vm.local.", dns.A, 120, bytes([10, 9, 9, 1])),
    ]
    [(answer, _)] = A1.answer(dns.Message(questions=[dns.Question(records.SERVICES)]))
    assert [r.data for r in answer.answers] == ["a1.local."]
    for name in ("A1.local.", "a2.local.", "local."):
        assert A1.answer(dns.Message(questions=[dns.Question(name)])) == []


def test_probes_announcements_and_goodbyes() -> None:
    probe = A1.probe()
    assert (probe.id, probe.flags) == (0, 0)
    assert probe.questions == [dns.Question(A1.instance, dns.PTR)]
    assert [(r.type, r.flush) for r in probe.records] == [(dns.SRV, False), (dns.TXT, False)]
    assert probe.records == probe.authorities
    shown = [(dns.SRV, True), (dns.TXT, True), (dns.PTR, False), (dns.PTR, False), (dns.A, True)]
    for message, ttls in (
        (A1.unsolicited(), [3200, 3200, 3200, 3200, 120]),
        (A1.goodbye(), [0] * 5),
    ):
        assert (message.id, message.flags) == (0, 0x8000)
        assert [(r.type, r.flush) for r in message.answers] == shown
        assert [r.ttl for r in message.answers] == ttls
        assert message.records == message.answers


def test_what_is_not_answered() -> None:
    known = dns.Message(questions=ASK_A1.questions, answers=[A1.pointer(1600)])
    assert A1.answer(known) == []
    stale = dns.Message(questions=ASK_A1.questions, answers=[A1.pointer(1599)])
    assert len(A1.answer(stale)) == 1
    assert A1.answer(A1.probe()) == []
    assert A1.answer(A1.unsolicited()) == []


def test_foreign_responder_without_compression_or_flush_bits() -> None:
    message = dns.Message(
        flags=dns.RESPONSE,
        answers=[
            dns.Record("pyapp.local.", dns.PTR, 120, "pybox:77.pyapp.local."),
            dns.Record("pybox:77.pyapp.local.", dns.SRV, 120, dns.Service(4000, "pybox.local.")),
            dns.Record("pybox:77.pyapp.local.", dns.TXT, 120, (b"pyapp",)),
            dns.Record("pybox.local.", dns.A, 120, bytes([10, 0, 0, 7])),
            dns.Record("pybox.local.", dns.AAAA, 120, bytes(15) + b"\x01"),
        ],
    )
    assert records.sightings(message) == [records.Sighting("pyapp", 4000, "10.0.0.7", "::1")]


@pytest.mark.parametrize("missing", [dns.TXT, dns.A])
def test_incomplete_answers_are_dropped(missing: int) -> None:
    full = A1.unsolicited()
    cut = [record for record in full.answers if record.type != missing]
    assert records.sightings(dns.Message(flags=dns.RESPONSE, answers=cut)) == []


def test_a_text_that_lies_about_the_app_is_dropped() -> None:
    other = [
        dns.Record(r.name, dns.TXT, 1, (b"a2", b"a1")) if r.type == dns.TXT else r
        for r in A1.unsolicited().answers
    ]
    assert records.sightings(dns.Message(flags=dns.RESPONSE, answers=other)) == []


def test_names_with_dots_have_more_labels() -> None:
    own = records.Announcement("my.app", "box.lan", 7, "fd00::1", 1)
    assert own.host == "box.lan.local."
    parsed = dns.parse(dns.build(own.unsolicited()))
    assert records.sightings(parsed) == [records.Sighting("my.app", 1, ipv6="fd00::1")]
    assert records.Announcement("a", "box.local", 7, "10.0.0.1", 1).host == "box.local."


LABEL = st.text(
    st.characters(min_codepoint=0x21, exclude_characters=".", exclude_categories=["Cs"]),
    min_size=1,
    max_size=9,
)
NAME = st.lists(LABEL, max_size=5).map(lambda labels: "".join(f"{x}." for x in labels) or ".")
DATA = st.one_of(
    st.tuples(st.just(dns.PTR), NAME),
    st.tuples(st.just(dns.SRV), st.builds(dns.Service, st.integers(0, 65535), NAME)),
    st.tuples(
        st.just(dns.TXT), st.lists(st.binary(max_size=40), min_size=1, max_size=3).map(tuple)
    ),
    st.tuples(st.just(dns.A), st.binary(min_size=4, max_size=4)),
    st.tuples(st.just(dns.AAAA), st.binary(min_size=16, max_size=16)),
)
RECORD = st.builds(
    lambda name, typed, ttl, flush: dns.Record(name, typed[0], ttl, typed[1], flush),
    NAME,
    DATA,
    st.integers(0, 2**31),
    st.booleans(),
)
QUESTION = st.builds(dns.Question, NAME, st.sampled_from([dns.PTR, dns.SRV, 255]), st.booleans())
MESSAGE = st.builds(
    dns.Message,
    st.integers(0, 65535),
    st.sampled_from([0, 0x8000, 0x8400]),
    st.lists(QUESTION, max_size=3),
    st.lists(RECORD, max_size=4),
    st.lists(RECORD, max_size=2),
    st.lists(RECORD, max_size=4),
)


@given(MESSAGE)
def test_messages_survive_the_wire(message: dns.Message) -> None:
    assert dns.parse(dns.build(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(dns.MessageError):
        records.sightings(dns.parse(data))


@given(st.integers(0, len(RECORDED) - 1), st.integers(0, 255))
def test_damaged_packets_are_read_or_refused(position: int, value: int) -> None:
    damaged = bytearray(RECORDED)
    damaged[position] = value
    for cut in (bytes(damaged), bytes(damaged[:position])):
        with contextlib.suppress(dns.MessageError):
            records.sightings(dns.parse(cut))


def test_pointers_that_go_round_are_refused() -> None:
    head = bytes.fromhex("000084000000000100000000")
    with pytest.raises(dns.MessageError):
        dns.parse(head + b"\xc0\x0c" + bytes(10))


def test_cache_turns_prefers_ipv4_and_forgets() -> None:
    cache = AddressCache()
    cache.add(records.Sighting("a", 1, "10.0.0.1", "fd00::1"), 0)
    cache.add(records.Sighting("a", 2, "10.0.0.2"), 50)
    assert [cache.pick("a") for _ in range(4)] == ["10.0.0.1:1", "10.0.0.2:2"] * 2
    cache.evict(61)
    assert [cache.pick("a") for _ in range(2)] == ["10.0.0.2:2"] * 2
    cache.add(records.Sighting("a", 1, "", "fd00::1"), 61)
    cache.forget("a", "10.0.0.2:2")
    assert cache.pick("a") == "[fd00::1]:1"
    cache.add(records.Sighting("a", 1, "", "fd00::1", gone=True), 62)
    assert cache.pick("a") is None
    cache.evict(63)
    assert not cache.knows("a")


# --- on the wire --------------------------------------------------------------------------------


def resolver() -> MdnsResolver:
    return MdnsResolver(MdnsSettings(), ComponentContext("mdns", "x"))


def instance(app_id: str, port: int) -> Instance:
    return Instance(app_id, "", "10.9.9.1", 3500, port, 0)


async def meet() -> None:
    """Two sidecars find each other; a third is not there; goodbyes are heard."""
    first, second = resolver(), resolver()
    await first.open()
    await second.open()
    name = f"mdns-test-{os.getpid()}"
    await second.register(instance(name, 4242))
    async with asyncio.timeout(20):
        found = await asyncio.gather(*(first.resolve(name, "any", 0) for _ in range(5)))
    assert found == ["10.9.9.1:4242"] * 5
    started = asyncio.get_running_loop().time()
    with pytest.raises(LookupError, match="couldn't find service: nobody-here"):
        await first.resolve("nobody-here", "", 0)
    assert asyncio.get_running_loop().time() - started > 0.9
    await second.close()
    async with asyncio.timeout(20):
        while first._cache.pick(name) is not None:
            await asyncio.sleep(0.01)
    with pytest.raises(LookupError):
        await first.resolve(name, "any", 0)
    await first.close()


def multicast_works() -> bool:
    from dapr_sidecar.components.nameresolution.mdns import sockets

    async def try_it() -> bool:
        links = await sockets.open_links(lambda data, sender, link: None)
        for link in links:
            link.close()
        await asyncio.sleep(0)
        return bool(links)

    return asyncio.run(try_it())


@pytest.mark.skipif(not multicast_works(), reason="no interface carries multicast")
async def test_two_resolvers_meet() -> None:
    await meet()


async def test_closing_lets_nobody_wait() -> None:
    made = resolver()
    caller = asyncio.create_task(made.resolve("nobody-here", "", 0))
    await asyncio.sleep(0)
    await made.close()
    with pytest.raises(LookupError, match="couldn't find service: nobody-here"):
        await asyncio.wait_for(caller, 20)


async def test_a_host_name_is_announced_by_its_address() -> None:
    """``--dapr-internal-grpc-listen-address localhost`` is what is told as the address."""
    made = resolver()
    await made.register(Instance("a", "", "localhost", 3500, 1, 0))
    assert made._own is not None
    assert made._own.addresses(flush=False)[0].data == bytes([127, 0, 0, 1])
    await made.close()
    with pytest.raises(ValueError, match=r"'no-such-host.invalid' cannot be announced"):
        await resolver().register(Instance("a", "", "no-such-host.invalid", 3500, 1, 0))


IN_NAMESPACE = (
    "import asyncio, sys; sys.path.insert(0, {0!r}); import test_mdns; "
    "asyncio.run(test_mdns.meet())"
)
VETH = (
    "ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up && "
    "ip addr add 10.9.9.1/24 dev v0 &&"
)


@pytest.mark.slow
@pytest.mark.parametrize("setup", ["", VETH], ids=["loopback", "veth"])
def test_in_a_network_of_its_own(setup: str) -> None:
    """Only a loopback, then a veth pair: as in a test's private network namespace."""
    unshare = shutil.which("unshare")
    if unshare is None or shutil.which("ip") is None:
        pytest.skip("unshare or ip is not installed")
    code = IN_NAMESPACE.format(str(Path(__file__).parent))
    script = f'ip link set lo up && {setup} exec {sys.executable} -c "{code}"'
    run = subprocess.run([unshare, "-rn", "sh", "-c", script], capture_output=True, timeout=100)
    if b"unshare" in run.stderr or b"Operation not permitted" in run.stderr:
        pytest.skip("no network namespaces here")
    assert run.returncode == 0, run.stderr.decode()
