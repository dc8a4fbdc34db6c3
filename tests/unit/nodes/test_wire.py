"""What crosses to a node and back: every exchange, both ways, and against anything at all.

Seen to fail when a nest of brackets was not foreseen (``test_never_crashes_on_any_bytes``), and
when the fingerprint of an endpoint was not compared with its key.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpucloud_core.kernel.ids import AllocationId, ClaimId, entity_id
from gpucloud_core.nodes import wire
from gpucloud_core.nodes import wire_values as check
from gpucloud_core.nodes.model import (
    DiskWipe,
    OwnedSlice,
    SliceEndpoint,
    SliceEvidence,
    SliceSpec,
    WipeEvidence,
)
from gpucloud_core.nodes.ports import NodeRefused
from slice_builders import a_public_key

EXCHANGES: Final[tuple[wire.Exchange[Any, Any], ...]] = (
    wire.PROBE,
    wire.PROVISION,
    wire.SET_KEYS,
    wire.VERIFY,
    wire.CUT_OFF,
    wire.RELEASE,
    wire.WIPE,
    wire.VERIFY_CLEAN,
    wire.LIST,
)

numbers = st.integers(0, 2**128 - 1)
claims = numbers.map(lambda number: ClaimId(entity_id("clm", number)))
allocations = numbers.map(lambda number: AllocationId(entity_id("alc", number)))
hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
uuids = hashes.map(lambda h: f"GPU-{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:32]}")
gpus = st.lists(uuids, max_size=4, unique=True).map(tuple)
keys = st.text("abc", max_size=3).map(a_public_key)
prints = keys.map(lambda line: check.public_key(line).fingerprint)
cidrs = st.lists(
    st.one_of(
        st.ip_addresses(v=4, network="10.0.0.0/8").map(lambda each: f"{each}/32"),
        st.sampled_from(["0.0.0.0/0", "::/0", "2001:db8::/32", "192.0.2.0/24"]),
    ),
    max_size=3,
    unique=True,
).map(tuple)
ports = st.integers(1, 65_535)
printable = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=40)
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
instants = st.datetimes(timezones=st.just(UTC))


disks = st.lists(st.sampled_from(["nvme1n1", "nvme2n1", "sdb"]), unique=True).map(tuple)
nics = st.lists(st.sampled_from(["0000:11:00.0", "0000:11:00.1"]), unique=True).map(tuple)


@st.composite
def specs(draw: st.DrawFn) -> SliceSpec:
    chosen = draw(gpus)
    inbound = draw(st.dictionaries(ports, cidrs, max_size=3))
    return SliceSpec(
        claim_id=draw(claims),
        allocation_id=draw(allocations),
        generation=draw(st.integers(0, check.GENERATION_MAX)),
        image=draw(st.sampled_from(["ubuntu-24.04", "img_0", "nvcr.io/nvidia/pytorch:26.01-py3"])),
        username=draw(st.sampled_from(["ubuntu", "a", "_x-1"])),
        hostname=draw(labels),
        gpu_uuids=chosen,
        gpu_indexes=tuple(range(len(chosen))),
        cpus=draw(st.sampled_from(["0", "0-3", "0-3,8,10-11", "0,0"])),
        memory_mib=draw(st.integers(1, check.MEMORY_MIB_MAX)),
        pids_max=draw(st.integers(1, check.PIDS_MAX)),
        ssh_host=draw(st.sampled_from(["127.0.0.1", "2001:db8::1", "node-1.example.com"])),
        ssh_port=draw(ports),
        ssh_cidrs=draw(cidrs),
        inbound=tuple(inbound.items()),
        disks=draw(disks),
        nics=draw(nics),
    )


@st.composite
def endpoints(draw: st.DrawFn) -> SliceEndpoint:
    key = check.public_key(draw(keys))
    return SliceEndpoint(
        host="10.0.0.1",
        port=draw(ports),
        username="ubuntu",
        host_key=key.line,
        host_key_fingerprint=key.fingerprint,
    )


evidences = st.builds(
    SliceEvidence,
    exists=st.booleans(),
    running=st.booleans(),
    ssh_ready=st.booleans(),
    gpu_uuids=gpus,
    key_fingerprints=st.lists(prints, unique=True).map(tuple),
    ssh_cidrs=cidrs,
    detail=printable,
    disks=disks,
    nics=nics,
)
disk_wipes = st.builds(
    DiskWipe,
    name=st.sampled_from(["nvme1n1", "nvme2n1"]),
    serial=st.just("S64H"),
    method=st.just("disk-discard"),
    size_bytes=st.integers(0, 1 << 50),
    reads=st.lists(st.tuples(printable, hashes), unique=True, max_size=3).map(tuple),
    clean=st.booleans(),
)
proofs = st.builds(
    WipeEvidence,
    claim_id=claims,
    method=st.just("overwrite-extents"),
    device_serials=st.lists(st.sampled_from(["1", "A-2"]), unique=True).map(tuple),
    command_hash=hashes,
    random_reads=st.lists(st.tuples(printable, hashes), unique=True, max_size=3).map(tuple),
    at=instants,
    clean=st.booleans(),
    detail=printable,
    disks=st.lists(disk_wipes, unique=True, max_size=2).map(tuple),
)
owned = st.builds(OwnedSlice, claim_id=claims, allocation_id=allocations, running=st.booleans())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


class TestARequest:
    @given(spec=specs())
    def test_to_provision_arrives_as_it_was_sent(self, spec: SliceSpec) -> None:
        assert wire.PROVISION.read_request(wire.PROVISION.request(spec)) == spec

    @given(claim_id=claims, lines=st.lists(keys, unique=True).map(tuple))
    def test_to_set_keys_arrives_as_it_was_sent(
        self, claim_id: ClaimId, lines: tuple[str, ...]
    ) -> None:
        asked = wire.KeysRequest(claim_id=claim_id, keys=lines)

        assert wire.SET_KEYS.read_request(wire.SET_KEYS.request(asked)) == asked

    def test_leaves_the_comments_of_keys_at_home(self) -> None:
        key = a_public_key("a")
        asked = wire.KeysRequest(claim_id=_CLAIM, keys=(f"{key} me@home",))

        assert wire.SET_KEYS.read_request(wire.SET_KEYS.request(asked)).keys == (key,)

    @given(claim_id=claims, chosen=gpus)
    def test_about_gpus_arrives_as_it_was_sent(
        self, claim_id: ClaimId, chosen: tuple[str, ...]
    ) -> None:
        asked = wire.GpusRequest(claim_id=claim_id, gpu_uuids=chosen)

        assert wire.WIPE.read_request(wire.WIPE.request(asked)) == asked

    def test_without_disks_is_one_that_older_programs_understand(self) -> None:
        known = json.loads(wire.PROVISION.request(_spec()))
        newer = json.loads(wire.PROVISION.request(replace(_spec(), disks=("nvme1n1",))))

        assert newer.keys() - known.keys() == {"disks"}
        assert wire.PROVISION.read_request(json.dumps(known).encode()) == _spec()
        asked = wire.GpusRequest(claim_id=_CLAIM, gpu_uuids=())
        assert json.loads(wire.WIPE.request(asked)).keys() == {"claim_id", "gpu_uuids"}

    @pytest.mark.parametrize("name", ["", "../sda", "nvme1n1 ", "a" * 33, "-x"])
    def test_for_a_disk_of_no_such_name_is_refused(self, name: str) -> None:
        with pytest.raises(NodeRefused, match="disks"):
            wire.PROVISION.request(replace(_spec(), disks=(name,)))

    def test_with_a_field_too_many_is_refused(self) -> None:
        raw = json.dumps({"claim_id": _CLAIM, "force": True}).encode()

        with pytest.raises(NodeRefused, match="unknown fields: force"):
            wire.RELEASE.read_request(raw)

    def test_for_two_gpus_and_one_index_is_refused(self) -> None:
        with pytest.raises(NodeRefused, match="gpu_indexes"):
            wire.PROVISION.request(replace(_spec(), gpu_indexes=()))


class TestAnAnswer:
    @given(value=evidences)
    def test_to_verify_arrives_as_it_was_given(self, value: SliceEvidence) -> None:
        assert wire.VERIFY.read_answer(wire.VERIFY.answer(value)) == value

    @given(value=proofs)
    def test_to_wipe_arrives_as_it_was_given(self, value: WipeEvidence) -> None:
        assert wire.WIPE.read_answer(wire.WIPE.answer(value)) == value

    @given(value=endpoints())
    def test_to_provision_arrives_as_it_was_given(self, value: SliceEndpoint) -> None:
        assert wire.PROVISION.read_answer(wire.PROVISION.answer(value)) == value

    @given(value=st.lists(owned, max_size=3, unique=True).map(tuple))
    def test_to_list_arrives_as_it_was_given(self, value: tuple[OwnedSlice, ...]) -> None:
        answer = wire.SlicesAnswer(slices=value)

        assert wire.LIST.read_answer(wire.LIST.answer(answer)) == answer

    def test_may_say_more_than_we_ask(self) -> None:
        raw = b'{"ok": true, "found": [], "since": "a newer program"}'

        assert wire.VERIFY_CLEAN.read_answer(raw).found == ()

    def test_whose_fingerprint_is_another_keys_is_refused(self) -> None:
        endpoint = SliceEndpoint(
            host="10.0.0.1",
            port=22,
            username="ubuntu",
            host_key=a_public_key("a"),
            host_key_fingerprint=check.public_key(a_public_key("b")).fingerprint,
        )

        with pytest.raises(NodeRefused, match="host_key_fingerprint"):
            wire.PROVISION.answer(endpoint)

    @given(exchange=st.sampled_from(EXCHANGES), raw=st.binary(max_size=200))
    @example(exchange=wire.LIST, raw=b"[" * 200_000)
    @example(exchange=wire.LIST, raw=b'{"ok": true, "slices": ' + b"9" * 5000 + b"}")
    @example(exchange=wire.LIST, raw=b'{"ok": true, "ok": true, "slices": []}')
    @example(exchange=wire.LIST, raw=b'{"ok": true, "slices": NaN}')
    @example(exchange=wire.CUT_OFF, raw=b" " * (wire.DOCUMENT_BYTES_MAX + 1))
    def test_never_crashes_on_any_bytes(
        self, exchange: wire.Exchange[Any, Any], raw: bytes
    ) -> None:
        with pytest.raises(NodeRefused):
            exchange.read_answer(raw)

    @given(exchange=st.sampled_from(EXCHANGES), data=st.data())
    def test_never_crashes_on_any_document(
        self, exchange: wire.Exchange[Any, Any], data: st.DataObject
    ) -> None:
        names = [*exchange.answers.checks, "error", "detail"]
        document = {name: data.draw(json_values) for name in names}
        document["ok"] = data.draw(st.booleans())
        raw = json.dumps(document).encode()

        said = _refusal(exchange, raw)

        assert said.isprintable()
        assert len(said) <= 1000

    @given(detail=st.text())
    def test_that_says_no_keeps_its_words_and_nothing_that_steers_a_terminal(
        self, detail: str
    ) -> None:
        with pytest.raises(NodeRefused) as refused:
            wire.LIST.read_answer(wire.refusal("gpu_in_use", detail))

        assert refused.value.detail.endswith("(gpu_in_use)")
        assert refused.value.detail.isprintable()

    def test_that_says_no_without_a_reason_is_still_one(self) -> None:
        with pytest.raises(NodeRefused, match="no reason"):
            wire.LIST.read_answer(b'{"ok": false}')


class TestTheShellCommand:
    def test_names_the_claim(self) -> None:
        assert wire.shell_argv(_CLAIM) == ("gpucloud-node", "shell", "--claim", _CLAIM)

    @given(text=st.text())
    def test_takes_nothing_else(self, text: str) -> None:
        with pytest.raises(NodeRefused):
            wire.shell_argv(ClaimId(text))


def _refusal(exchange: wire.Exchange[Any, Any], raw: bytes) -> str:
    """Return why an answer is refused, or nothing if it is not."""
    try:
        exchange.read_answer(raw)
    except NodeRefused as refused:
        return refused.detail
    return ""


_CLAIM: Final = ClaimId(entity_id("clm", 1))


def _spec() -> SliceSpec:
    return SliceSpec(
        claim_id=_CLAIM,
        allocation_id=AllocationId(entity_id("alc", 1)),
        generation=1,
        image="ubuntu-24.04",
        username="ubuntu",
        hostname="slice-1",
        gpu_uuids=("GPU-00000000-0000-0000-0000-000000000000",),
        gpu_indexes=(0,),
        cpus="0-3",
        memory_mib=1024,
        pids_max=100,
        ssh_host="10.0.0.1",
        ssh_port=22,
    )


class TestAnInstant:
    def test_is_utc_whatever_offset_it_was_written_with(self) -> None:
        assert check.instant("2026-01-01T02:00:00+02:00") == datetime(2026, 1, 1, tzinfo=UTC)

    @pytest.mark.parametrize("text", ["2026-01-01T00:00:00", "now", "", "9" * 50, 7, None])
    def test_is_nothing_else(self, text: object) -> None:
        with pytest.raises(check.Wrong):
            check.instant(text)
