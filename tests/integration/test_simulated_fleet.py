"""Three hosts in one process: the fleet server."""

import asyncio
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gpucloud_adapters.simulated.fleet_file import FILE_NAME, read_fleet
from gpucloud_adapters.simulated.fleet_server import Fleet, FleetOptions, options_of
from gpucloud_core.nodes.systems import hgx_h200
from world.simulated_host import free_port


class TestFleet:
    async def test_describes_every_host_and_is_found_again(self, tmp_path: Path) -> None:
        options = FleetOptions(
            home=tmp_path, systems=("hgx-h200",) * 2, seed=5, port_base=free_port()
        )
        first, again = Fleet(options), Fleet(replace(options, seed=None))

        path = await first.start()
        described = read_fleet(path)
        await first.close()
        assert read_fleet(await again.start()) == described
        await again.close()

        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [host.name for host in described] == ["hgx-h200-01", "hgx-h200-02"]
        assert described[1].access.port == options.port_base + 1
        assert described[1].slot_ports[3] == options.port_base + 203
        assert described[0].topology == hgx_h200(seed="5/hgx-h200-01")
        assert described[0].private_key.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
        uuids = {gpu.uuid for host in described for gpu in host.topology.gpus}
        assert len(uuids) == 16

    def test_is_of_several_kinds_unless_told_otherwise(self, tmp_path: Path) -> None:
        given = options_of(["--home", str(tmp_path)])

        assert given.systems[:3] == ("hgx-h200",) * 3
        assert {"hgx-b200", "hgx-a100", "l40s-x8", "mi300x-x8"} < set(given.systems)

    @pytest.mark.parametrize("systems", ["hgx-h200,toaster", "", ",".join(["l40s-x8"] * 100)])
    def test_refuses_hosts_that_it_cannot_be(self, systems: str, tmp_path: Path) -> None:
        with pytest.raises(SystemExit):
            options_of(["--home", str(tmp_path), "--systems", systems])

    async def test_keeps_its_seed(self, tmp_path: Path) -> None:
        options = FleetOptions(home=tmp_path, systems=("hgx-h200",), seed=5, port_base=free_port())
        fleet = Fleet(options)
        await fleet.start()
        await fleet.close()

        with pytest.raises(ValueError, match="made with seed 5"):
            await Fleet(replace(options, seed=6)).start()

    async def test_runs_as_a_program(self, tmp_path: Path) -> None:
        port = free_port()
        arguments = ("--home", str(tmp_path), "--systems", "hgx-h200", "--port", str(port))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gpucloud_adapters.simulated.fleet_server",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"ready\n"
            assert (tmp_path / FILE_NAME).exists()
            process.terminate()
            assert await process.wait() == 0
