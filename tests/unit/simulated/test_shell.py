"""The shell of a slice, without SSH.

Seen to fail when ``Interior.gpus`` returned the node's GPUs instead of the slice's.
"""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpucloud_adapters.simulated.host
from gpucloud_adapters.simulated.host.commands import commands_of
from gpucloud_adapters.simulated.host.interior import Interior, absolute
from gpucloud_adapters.simulated.host.outcome import Outcome
from gpucloud_adapters.simulated.host.shell import Shell
from gpucloud_core.nodes.holdings import HeldSlice, Stage
from gpucloud_core.nodes.systems import SYSTEMS
from simulated_builders import KEY, NODE, NOON, SteppedClock, a_spec

HELD = HeldSlice(spec=a_spec(gpus=(1, 6)), stage=Stage.MADE, since=NOON, keys=(KEY,))
MINE = [NODE.gpus[1].uuid, NODE.gpus[6].uuid]


def shell(terminal: str | None = None) -> Shell:
    interior = Interior(NODE, lambda: HELD, seed="1", clock=SteppedClock())
    return Shell(interior, terminal=terminal)


def run(line: str, using: Shell | None = None) -> Outcome:
    outcomes = list((using or shell()).run(line))
    return Outcome(
        text="".join(each.text for each in outcomes),
        error="".join(each.error for each in outcomes),
        status=outcomes[-1].status if outcomes else 0,
    )


class TestOnAnAmdNode:
    """The same shell over another vendor's GPUs."""

    TOPOLOGY = SYSTEMS["mi300x-x8"].topology(seed="tests")

    def run(self, line: str) -> Outcome:
        spec = a_spec(gpus=(1, 6), topology=self.TOPOLOGY)
        held = HeldSlice(spec=spec, stage=Stage.MADE, since=NOON, keys=(KEY,))
        interior = Interior(self.TOPOLOGY, lambda: held, seed="1", clock=SteppedClock())
        return run(line, Shell(interior))

    @pytest.mark.parametrize(
        "line",
        [
            "amd-smi",
            "amd-smi list",
            "amd-smi static",
            "amd-smi static --json",
            "amd-smi topology",
            "amd-smi monitor",
            "rocm-smi",
            "rocm-smi --showtopo",
            "rocm-smi --showproductname",
        ],
    )
    def test_shows_the_gpus_of_its_slice_and_no_trace_of_others(self, line: str) -> None:
        outcome = self.run(line)

        assert (outcome.status, outcome.error) == (0, "")
        for index, gpu in enumerate(self.TOPOLOGY.gpus):
            for trace in (gpu.uuid, gpu.pci_address.lower()[4:], gpu.serial):
                assert index in {1, 6} or trace not in outcome.text

    def test_has_its_own_devices_and_tools(self) -> None:
        assert self.run("ls /dev/dri").text.split() == ["renderD129", "renderD134"]
        assert self.run("nvidia-smi").status == 127
        assert "amd-smi" in self.run("help").text
        assert "8 x AMD Instinct MI300X" in self.run("cat README.txt").text
        assert self.run("amd-smi nonsense").status == 2
        assert run("amd-smi").status == 127


class TestShell:
    @pytest.mark.parametrize(
        "line", ["nvidia-smi -L", "nvidia-smi -q -x", "nvidia-smi", "env", "nvidia-smi topo -m"]
    )
    def test_shows_the_gpus_of_its_slice_and_no_trace_of_others(self, line: str) -> None:
        text = run(line).text

        for gpu in NODE.gpus:
            if gpu.uuid not in MINE:
                assert gpu.uuid not in text
                assert gpu.pci_address not in text
        assert "GPU7" not in text

    def test_numbers_its_gpus_from_zero(self) -> None:
        assert run("nvidia-smi -L").text.splitlines() == [
            f"GPU {index}: NVIDIA H200 (UUID: {uuid})" for index, uuid in enumerate(MINE)
        ]

    @given(name=st.text(alphabet="abcdefgh/.-", min_size=1, max_size=8))
    def test_has_nothing_that_is_not_in_its_list(self, name: str) -> None:
        if name.rpartition("/")[2] in {*commands_of(shell().interior), "exit", "logout"}:
            return

        outcome = run(name)

        assert outcome.error == f"{name}: not on a simulated node\n"
        assert outcome.status == 127

    @given(line=st.text(max_size=30))
    def test_survives_any_line(self, line: str) -> None:
        for outcome in shell("xterm").run(line):
            assert 0 <= outcome.status <= 255

    def test_refuses_pipes_by_name(self) -> None:
        outcome = run("nvidia-smi | head")

        assert outcome == Outcome(error="|: not on a simulated node\n", status=127)

    def test_runs_what_is_due(self) -> None:
        assert run("nope && echo a || echo b; echo $?").text == "b\n0\n"

    def test_ends_with_the_status_it_is_given(self) -> None:
        ending = shell()

        assert run("echo a; exit 300; echo b", ending).text == "a\n"
        assert ending.ended
        assert ending.status == 44

    def test_remembers_where_it_is(self) -> None:
        here = shell()

        assert run("pwd; cd /etc; pwd; cd -; cd ..; pwd", here).text == (
            "/home/ubuntu\n/etc\n/home/ubuntu\n/home\n"
        )
        assert here.prompt.endswith("/home\x1b[0m$ ")

    def test_says_where_it_cannot_go(self) -> None:
        assert run("cd /nowhere").error == "-bash: cd: /nowhere: No such file or directory\n"
        assert run("cd /etc/hostname").error == "-bash: cd: /etc/hostname: Not a directory\n"

    def test_shows_files(self) -> None:
        assert run("cat ~/.ssh/authorized_keys").text == f"{KEY}\n"
        assert run("ls /dev").text.split() == [
            "null",
            "nvidia-uvm",
            "nvidia1",
            "nvidia6",
            "nvidiactl",
        ]
        assert run("ls").text == "README.txt\n"
        assert ".ssh" in run("ls -la").text
        assert run("cat /etc").error == "cat: /etc: Is a directory\n"
        assert run("ls /x").status == 2

    def test_tells_its_share_of_the_machine(self) -> None:
        assert run("nproc").text == "24\n"
        assert run("hostname; whoami").text == "slice-1\nubuntu\n"
        assert "256Gi" in run("free -h").text
        assert run("cat /proc/meminfo").text.splitlines()[0] == "MemTotal:       268435456 kB"
        assert run("uname -sm").text == "Linux x86_64\n"
        assert run("date").text == "Sun Nov 22 12:00:00 UTC 2026\n"

    def test_labels_its_prompt(self) -> None:
        assert shell().prompt.startswith("\x1b[2m[simulated]\x1b[0m ")
        assert "ubuntu@slice-1" in shell().prompt

    def test_draws_top_only_on_a_terminal(self) -> None:
        assert run("top").status == 1
        live = next(iter(shell("xterm").run("top"))).live
        assert live is not None
        assert len(live(40, 6).splitlines()) == 5
        assert max(len(line) for line in live(40, 6).splitlines()) <= 40

    @pytest.mark.parametrize(
        "line",
        ["nvidia-smi -z", "nvidia-smi --query-gpu=x --format=csv", "nvidia-smi --query-gpu=x"],
    )
    def test_answers_wrong_options_as_nvidia_smi_does(self, line: str) -> None:
        assert run(line).status == 2


class TestCompletion:
    @given(line=st.text(alphabet="ncl /~.e$", max_size=12), cursor=st.integers(0, 12))
    def test_only_ever_adds_at_the_cursor(self, line: str, cursor: int) -> None:
        cursor = min(cursor, len(line))

        done = shell().complete(line, cursor)

        assert done.line.startswith(line[:cursor])
        assert done.line.endswith(line[cursor:])
        assert cursor <= done.cursor <= len(done.line)

    def test_completes_a_command(self) -> None:
        assert shell().complete("nv", 2).line == "nvidia-smi "

    def test_completes_a_path(self) -> None:
        assert shell().complete("cat /etc/os", 11).line == "cat /etc/os-release "
        assert shell().complete("cd /e", 5).line == "cd /etc/"
        assert shell().complete("cat ~/R", 7).line == "cat ~/README.txt "

    def test_lists_what_is_not_decided(self) -> None:
        done = shell().complete("ls /dev/nvidia", 14)

        assert done.line == "ls /dev/nvidia"
        assert done.choices == ("nvidia-uvm", "nvidia1", "nvidia6", "nvidiactl")

    def test_knows_that_a_command_follows_a_joiner(self) -> None:
        assert shell().complete("ls && hostn", 11).line == "ls && hostname "


class TestAbsolute:
    @given(path=st.text(alphabet="a./~", max_size=10))
    def test_never_leaves_the_tree(self, path: str) -> None:
        result = absolute(path, cwd="/home/ubuntu", home="/home/ubuntu")

        assert result.startswith("/")
        assert ".." not in result.split("/")
        assert "//" not in result


class TestPackage:
    def test_cannot_start_a_process(self) -> None:
        """A slice's shell must never become a shell of the machine that simulates it."""
        folder = Path(gpucloud_adapters.simulated.host.__file__).parent
        forbidden_modules = {"subprocess", "pty", "multiprocessing", "ctypes", "importlib", "runpy"}
        forbidden_names = {
            "system",
            "popen",
            "fork",
            "forkpty",
            "posix_spawn",
            "execv",
            "execve",
            "execvp",
            "spawnv",
            "create_subprocess_exec",
            "create_subprocess_shell",
            "eval",
            "exec",
            "compile",
            "__import__",
        }
        for path in [*folder.rglob("*.py"), *folder.parent.glob("fleet_*.py")]:
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Import(names=names):
                        assert not {name.name.split(".")[0] for name in names} & forbidden_modules
                    case ast.ImportFrom(module=module, names=names):
                        assert (module or "").split(".")[0] not in forbidden_modules
                        assert not {name.name for name in names} & forbidden_names
                    case ast.Attribute(attr=attribute, value=ast.Name(id=owner)):
                        assert owner == "re" or attribute not in forbidden_names, path
                    case ast.Name(id=name):
                        assert name not in forbidden_names, path
