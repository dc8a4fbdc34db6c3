"""amd-smi's answers, as its own source writes them, and as broken or hostile ones might be.

Seen to fail when the links were read by position instead of by address, when 65535 passed for an
OAM id, and when partitions of one GPU counted as GPUs.
"""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_adapters.memory import amd_texts
from gpucloud_core.nodes.amd_smi import AmdReport, parse_amd
from gpucloud_core.nodes.discovery import read_topology
from gpucloud_core.nodes.model import LinkClass
from gpucloud_core.nodes.smi import DiscoveryUnreadable
from gpucloud_core.nodes.systems import SYSTEMS

NODE = SYSTEMS["mi300x-x8"].topology(seed="tests")
TEXTS = amd_texts.outputs(NODE)
LIST, STATIC, TOPOLOGY = TEXTS.values()
XGMI = LinkClass.XGMI


def read(listing: object = None, static: object = None, topology: object = None) -> AmdReport:
    texts = [
        text if given_ is None else json.dumps(given_)
        for text, given_ in ((LIST, listing), (STATIC, static), (TOPOLOGY, topology))
    ]
    return parse_amd(*texts)


def changed(text: str, **parts: dict[str, object]) -> list[dict[str, Any]]:
    """Return the rows with some facts of the first GPU replaced."""
    rows: list[dict[str, Any]] = json.loads(text)
    for name, facts in parts.items():
        rows[0][name] = {**rows[0].get(name, {}), **facts}
    return rows


class TestParseAmd:
    def test_reads_the_gpus_and_how_they_reach_each_other(self) -> None:
        found = read()

        first = found.report.gpus[0]
        assert (first.uuid, first.model) == (NODE.gpus[0].uuid, "AMD Instinct MI300X")
        assert (first.pci_address, first.memory_mib) == ("00000000:0C:00.0", 196_592)
        assert [gpu.module_id for gpu in found.report.gpus] == [7, 5, 6, 2, 0, 4, 1, 3]
        assert [gpu.numa for gpu in found.report.gpus] == [0] * 4 + [1] * 4
        assert set(found.links.pairs.values()) == {(XGMI, 1)}
        assert len(found.links.pairs) == 56
        assert (found.report.driver_version, found.report.faults) == ("6.10.5", ())

    def test_reads_the_list_of_newer_ones_and_past_a_warning(self) -> None:
        newer = "WARNING: user is not in the render group\n" + json.dumps(
            {"gpu_data": json.loads(STATIC)}
        )

        assert parse_amd(LIST, newer, TOPOLOGY) == read()

    @pytest.mark.parametrize(
        ("size", "mib"),
        [
            (196_592, 196_592),
            ("196592 MB", 196_592),
            ({"value": 206_141_652_992, "unit": "B"}, 196_592),
            ({"value": "192", "unit": "GB"}, 196_608),
            ("N/A", 0),
            ({"value": True, "unit": "MB"}, 0),
            ({"value": 1, "unit": "parsec"}, 0),
            (-1, 0),
        ],
    )
    def test_reads_memory_however_it_is_written(self, size: object, mib: int) -> None:
        found = read(static=changed(STATIC, vram={"size": size}))

        assert found.report.gpus[0].memory_mib == mib
        assert bool(found.report.faults) == (mib == 0)

    def test_does_not_take_not_known_for_a_place_on_the_board(self) -> None:
        found = read(static=changed(STATIC, asic={"oam_id": 65_535}))

        assert found.report.gpus[0].module_id is None

    def test_makes_do_without_the_static_facts(self) -> None:
        found = parse_amd(LIST, "", TOPOLOGY)

        assert {gpu.model for gpu in found.report.gpus} == {"unknown"}
        assert [fault.code for fault in found.report.faults] == ["gpu_memory_unknown"] * 8

    def test_counts_a_partitioned_gpu_once_and_says_so(self) -> None:
        rows = json.loads(LIST)
        twin = {**rows[0], "gpu": 8, "bdf": "0000:0c:00.1", "uuid": rows[0]["uuid"][:-1] + "0"}
        static = changed(STATIC, partition={"compute_partition": "CPX"})

        found = read(listing=[*rows, twin], static=static)

        assert len(found.report.gpus) == 8
        assert {fault.code for fault in found.report.faults} == {"gpu_partitioned"}

    def test_names_a_gpu_that_does_not_tell_who_it_is(self) -> None:
        rows = json.loads(LIST)
        rows[3]["uuid"] = "AMDSMI_STATUS_NOT_SUPPORTED - The feature is not supported"

        found = read(listing=rows)

        assert len(found.report.gpus) == 7
        assert [fault.code for fault in found.report.faults] == ["gpu_lost"]
        assert "00000000:5C:00.0" in found.report.faults[0].detail

    def test_tells_a_fabric_link_that_is_down_and_takes_the_worse_of_two_claims(self) -> None:
        rows = json.loads(TOPOLOGY)
        rows[0]["links"][1] |= {"link_status": "DISABLED"}
        rows[2]["links"][3] |= {"link_type": "PCIE", "num_hops": 2}
        rows[4]["links"][5] |= {"link_type": "UNKNOWN"}

        links = read(topology=rows).links

        assert links.pairs[0, 1] == links.pairs[1, 0] == (LinkClass.SYS, 0)
        assert links.pairs[2, 3] == links.pairs[3, 2] == (LinkClass.NODE, 0)
        assert links.faults == (
            "GPU0 to GPU1 has its Infinity Fabric link disabled.",
            "GPU4 to GPU5 says UNKNOWN.",
        )

    def test_goes_by_addresses_whatever_the_order(self) -> None:
        rows = json.loads(TOPOLOGY)
        rows[0]["links"][1] |= {"link_type": "PCIE", "num_hops": 3}
        for row in rows:
            row["links"].reverse()
        rows.reverse()

        links = read(topology=rows).links

        assert {pair for pair, link in links.pairs.items() if link[0] is not XGMI} == {
            (0, 1),
            (1, 0),
        }

    def test_says_when_links_are_missing(self) -> None:
        rows = json.loads(TOPOLOGY)[:1]
        rows[0]["links"] = rows[0]["links"][:3]

        assert read(topology=rows).links.faults == (
            "amd-smi topology does not tell 26 of the links.",
        )
        assert read(topology=[]).links.faults == ("amd-smi topology shows no links.",)

    @pytest.mark.parametrize(
        "text", ["", "amd-smi: command not found", "{}", '{"gpu_data": 3}', "[" * 100_000, "\x00"]
    )
    def test_refuses_what_is_no_list(self, text: str) -> None:
        with pytest.raises(DiscoveryUnreadable):
            parse_amd(text, STATIC, TOPOLOGY)

    def test_refuses_one_gpu_twice(self) -> None:
        rows = json.loads(LIST)
        rows[1]["uuid"] = rows[0]["uuid"]

        with pytest.raises(DiscoveryUnreadable, match="twice"):
            read(listing=rows)

    @given(data=st.data())
    def test_raises_nothing_of_its_own(self, data: st.DataObject) -> None:
        documents = [json.loads(text) for text in (LIST, STATIC, TOPOLOGY)]
        for _ in range(data.draw(st.integers(1, 4))):
            damage(data, documents[data.draw(st.integers(0, 2))])
        texts = [json.dumps(document) for document in documents]
        cut = data.draw(st.integers(0, 400))
        try:
            found = parse_amd(texts[0], texts[1], texts[2])
            parse_amd(texts[0], texts[1][:cut], texts[2][:cut])
            read_topology(dict(zip(TEXTS, texts, strict=True)))
        except DiscoveryUnreadable:
            return
        size = range(len(found.report.gpus))
        assert all(i in size and j in size and i != j for i, j in found.links.pairs)


ODD: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.sampled_from([[], {}])
)


def damage(data: st.DataObject, node: Any) -> None:
    """Put something odd somewhere in a document, or leave something out."""
    while isinstance(node, dict | list) and node:
        keys = sorted(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or data.draw(st.booleans()):
            if data.draw(st.booleans()):
                node[key] = deepcopy(data.draw(ODD))
            else:
                del node[key]
            return
        node = node[key]


class TestReadTopology:
    def test_finds_an_mi300x_by_amd_smi_alone(self) -> None:
        found = read_topology(TEXTS)

        assert found.topology.system == "mi300x-x8"
        assert {fault.code for fault in found.faults} == {"cpus_unknown", "memory_unknown"}
