"""Whoever starts the children: starts them again, stops them in order, leaves none behind.

Seen to fail when a dead child's process group was not ended with it: its own child lived on.
"""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from children import ENVIRONMENT, PATIENCE, eventually, python
from gpucloud_adapters.embedded.leftovers import Records, began
from gpucloud_adapters.embedded.places import AlreadyRunning, held, is_free, kept_ports, web_port
from gpucloud_adapters.embedded.process import ChildFailed, Command, Supervisor, together


def is_up(log: Path) -> bool:
    return log.read_text() == "up\n"


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of ours, at the head of a group of its own."""
    process = subprocess.Popen(python("import time; time.sleep(600)"), start_new_session=True)
    yield process
    process.kill()
    process.wait()


class TestSupervisor:
    @pytest.fixture
    def said(self) -> list[str]:
        return []

    @pytest.fixture
    def records(self, tmp_path: Path) -> Records:
        return Records(tmp_path / "children.json")

    @pytest.fixture
    def supervisor(self, tmp_path: Path, records: Records, said: list[str]) -> Supervisor:
        return Supervisor(logs=tmp_path, records=records, report=said.append)

    def pids(self, tmp_path: Path) -> dict[str, int]:
        rows = json.loads((tmp_path / "children.json").read_text())
        return {row["name"]: row["pid"] for row in rows}

    def sleeper(self, name: str, **more: object) -> Command:
        return Command(
            name=name,
            argv=python("import time; time.sleep(600)"),
            environment=ENVIRONMENT,
            **more,  # type: ignore[arg-type]  # whatever a test wants to be different
        )

    async def test_starts_what_dies_again(
        self, supervisor: Supervisor, tmp_path: Path, said: list[str]
    ) -> None:
        async with supervisor:
            await supervisor.start(self.sleeper("one"))
            first = self.pids(tmp_path)["one"]
            os.kill(first, signal.SIGKILL)
            await eventually(lambda: self.pids(tmp_path).get("one", first) != first, "a new one")

        assert said[0].startswith("one ended with status -9; starting it again")
        assert self.pids(tmp_path) == {}

    async def test_stops_the_youngest_first(self, supervisor: Supervisor, tmp_path: Path) -> None:
        diary = tmp_path / "diary"
        code = (
            "import signal, sys, time\n"
            "def bye(*_):\n"
            "    open(sys.argv[1], 'a').write(sys.argv[2])\n"
            "    sys.exit()\n"
            "signal.signal(signal.SIGTERM, bye)\n"
            "print('up', flush=True)\n"
            "time.sleep(600)\n"
        )
        async with supervisor:
            for name in "abc":
                argv = python(code, str(diary), name)
                await supervisor.start(Command(name=name, argv=argv, environment=ENVIRONMENT))
                log = tmp_path / f"{name}.log"
                await eventually(partial(is_up, log), f"{name}'s handler")

        assert diary.read_text() == "cba"

    async def test_kills_what_will_not_stop(self, supervisor: Supervisor, tmp_path: Path) -> None:
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        async with supervisor:
            await supervisor.start(
                Command(name="deaf", argv=python(code), environment=ENVIRONMENT, stop_seconds=0.2)
            )
            pid = self.pids(tmp_path)["deaf"]

        assert began(pid) is None

    async def test_ends_the_children_of_a_child_with_it(
        self, supervisor: Supervisor, tmp_path: Path
    ) -> None:
        code = (
            "import subprocess, sys\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
            "print(child.pid, flush=True)\n"
            "child.wait()\n"
        )
        async with supervisor:
            await supervisor.start(
                Command(name="parent", argv=python(code), environment=ENVIRONMENT)
            )
            log = tmp_path / "parent.log"
            await eventually(lambda: log.read_text().endswith("\n"), "the grandchild's number")
            grandchild = int(log.read_text())
            os.kill(self.pids(tmp_path)["parent"], signal.SIGKILL)
            await eventually(lambda: began(grandchild) is None, "the grandchild's end")

    async def test_says_the_last_words_of_a_job_that_failed(self, supervisor: Supervisor) -> None:
        job = Command(
            name="job",
            argv=python("import sys; print('no such table'); sys.exit(3)"),
            environment=ENVIRONMENT,
        )
        async with supervisor:
            with pytest.raises(ChildFailed, match=r"(?s)job ended with status 3.*no such table"):
                await supervisor.run(job)

    async def test_says_the_last_words_of_a_service_that_never_answered(
        self, supervisor: Supervisor
    ) -> None:
        async def never() -> bool:
            return False

        service = Command(
            name="web",
            argv=python("raise SystemExit('no module named web')"),
            environment=ENVIRONMENT,
            ready=never,
        )
        async with supervisor:
            with pytest.raises(ChildFailed, match=r"(?s)web ended with status 1.*no module"):
                await together(supervisor.start(self.sleeper("other")), supervisor.start(service))


class TestRecords:
    def test_end_what_an_earlier_run_left(
        self, tmp_path: Path, stranger: subprocess.Popen[bytes]
    ) -> None:
        records = Records(tmp_path / "children.json")
        records.add("left", stranger.pid, signal.SIGTERM)

        assert Records(tmp_path / "children.json").end_leftovers() == ("left",)
        assert stranger.wait(PATIENCE) == -signal.SIGTERM

    def test_spare_a_stranger_with_the_same_number(
        self, tmp_path: Path, stranger: subprocess.Popen[bytes]
    ) -> None:
        row = {"name": "left", "pid": stranger.pid, "began": "1", "stop_signal": 15}
        (tmp_path / "children.json").write_text(json.dumps([row]))

        assert Records(tmp_path / "children.json").end_leftovers() == ()
        assert stranger.poll() is None


class TestPlaces:
    def test_a_lock_is_held_once(self, tmp_path: Path) -> None:
        with (
            held(tmp_path / "lock"),
            pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"),
            held(tmp_path / "lock"),
        ):
            pass
        with held(tmp_path / "lock"):
            pass

    def test_ports_stay_the_same(self, tmp_path: Path) -> None:
        ranges = {"a": range(31_500, 31_600), "b": range(20_000, 30_000, 500)}
        first = kept_ports(tmp_path / "ports.json", ranges)

        assert kept_ports(tmp_path / "ports.json", ranges) == first
        assert all(first[name] in range_ for name, range_ in ranges.items())

    def test_a_taken_port_gives_way_to_the_next(self) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = other.getsockname()[1]

            assert not is_free("127.0.0.1", taken)
            assert web_port("127.0.0.1", taken, chosen=False) > taken
