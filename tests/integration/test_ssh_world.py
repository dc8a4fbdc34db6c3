"""The real-node world cleans up behind itself, however it ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from world import nodes

pytestmark = pytest.mark.needs_root

PROGRAM = """
import sys, time
sys.path[:0] = {path!r}
from world.nodes import real_node
with real_node() as world:
    print(world.number, world.pid, flush=True)
    time.sleep(60)
"""


class TestARealNode:
    def test_dies_with_the_test_run_that_made_it(self) -> None:
        program = PROGRAM.format(path=sys.path)
        run = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        with run:
            assert run.stdout is not None
            number, pid = map(int, run.stdout.readline().split())
            cable = Path(f"/sys/class/net/{nodes._cable(number)}")
            assert cable.exists()

            run.send_signal(signal.SIGKILL)

        deadline = time.monotonic() + 10
        while (Path(f"/proc/{pid}").exists() or cable.exists()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not Path(f"/proc/{pid}").exists()
        assert not cable.exists()

    def test_sweeps_what_a_killed_run_of_its_number_left(self) -> None:
        with nodes._number() as number:
            left = Path("/sys/fs/cgroup/pids", nodes._cgroup_name(number), "clm_x")
            if not left.parent.parent.is_dir():
                left = Path("/sys/fs/cgroup", nodes._cgroup_name(number), "clm_x")
            left.mkdir(parents=True)

        with nodes.real_node() as world:
            assert world.number == number
            assert not left.exists()
