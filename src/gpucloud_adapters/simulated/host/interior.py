"""The inside of one slice: its GPUs, its share of the node, and a few files that say so.

Everything is worked out from what the host holds and the topology at the moment it is asked, so
that a key added or a slice made again shows at once. There is no disk: the file tree is a table
of paths and texts.
"""

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gpucloud_adapters.simulated.host.boards import board_of
from gpucloud_adapters.simulated.host.machine_text import cpu_total, meminfo
from gpucloud_adapters.simulated.host.nvidia_smi import GpuView
from gpucloud_adapters.simulated.host.sampler import Use, idle_sample, sample
from gpucloud_core.kernel.time import Clock
from gpucloud_core.nodes.holdings import HeldSlice
from gpucloud_core.nodes.model import Gpu, Nvme, Topology, data_targets
from gpucloud_core.nodes.system import is_amd


@dataclass(frozen=True, slots=True)
class FileTree:
    """Paths and texts. Folders are the parents of the files, and those named."""

    files: Mapping[str, str]
    empty_folders: frozenset[str] = field(default_factory=frozenset)

    def is_folder(self, path: str) -> bool:
        start = "/" if path == "/" else f"{path}/"
        return (
            path == "/"
            or path in self.empty_folders
            or any(name.startswith(start) for name in (*self.files, *self.empty_folders))
        )

    def exists(self, path: str) -> bool:
        return path in self.files or self.is_folder(path)

    def names(self, folder: str) -> list[str]:
        """Return what is directly in ``folder``, sorted."""
        start = "/" if folder == "/" else f"{folder}/"
        inside = (
            path[len(start) :]
            for path in (*self.files, *self.empty_folders)
            if path.startswith(start)
        )
        return sorted({name.partition("/")[0] for name in inside if name})


class Interior:
    """What a customer finds in a slice.

    Args:
        topology: of the node.
        held: reads the slice as it is held now.
        seed: of the host; with the claim it decides what the GPUs seem to be doing.
        clock: tells the time.
    """

    def __init__(
        self, topology: Topology, held: Callable[[], HeldSlice], *, seed: str, clock: Clock
    ) -> None:
        self._topology = topology
        self._held = held
        self._seed = seed
        self._clock = clock

    @property
    def now(self) -> datetime:
        return self._clock.now()

    @property
    def held(self) -> HeldSlice:
        return self._held()

    @property
    def home(self) -> str:
        return f"/home/{self.held.spec.username}"

    @property
    def cpu_count(self) -> int:
        return cpu_total(self.held.spec.cpus)

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        mine = frozenset(self.held.spec.gpu_uuids)
        return tuple(gpu for gpu in self._topology.gpus if gpu.uuid in mine)

    @property
    def is_amd(self) -> bool:
        return is_amd_node(self._topology)

    def gpu_view(self) -> GpuView:
        """Return what the vendor's tool sees now: the slice's GPUs and no others."""
        held, now = self.held, self.now
        use = use_of(self._seed, held)
        return GpuView(
            topology=self._topology,
            gpus=self.gpus,
            samples={
                gpu.uuid: sample(use, gpu.uuid, now, board_of(gpu.model).limits(gpu.memory_mib))
                for gpu in self.gpus
            },
            at=now,
        )

    def files(self) -> FileTree:
        spec = self.held.spec
        files = {
            f"{self.home}/.ssh/authorized_keys": "".join(f"{key}\n" for key in self.held.keys),
            f"{self.home}/README.txt": _README.format(
                count=len(self._topology.gpus),
                model=self._topology.gpus[0].model,
                tools=_AMD_TOOLS if self.is_amd else _NVIDIA_TOOLS,
            ),
            "/etc/hostname": f"{spec.hostname}\n",
            "/etc/os-release": _OS_RELEASE,
            "/proc/meminfo": meminfo(spec.memory_mib),
            "/dev/null": "",
            **self._devices(),
        }
        return FileTree(files, frozenset({"/tmp", "/workspace", *self.data_disks()}))  # noqa: S108  names in a table

    def data_disks(self) -> dict[str, Nvme]:
        """Return the slice's data disks, by where they are mounted."""
        known = {disk.name: disk for disk in self._topology.nvmes}
        return {
            target: known[name]
            for name, target in data_targets(self.held.spec.disks).items()
            if name in known
        }

    def _devices(self) -> dict[str, str]:
        """Return the devices of the slice's GPUs, and where the driver tells its version."""
        driver = self._topology.driver_version
        if self.is_amd:
            files = {"/sys/module/amdgpu/version": f"{driver}\n", "/dev/kfd": ""}
            return files | {f"/dev/dri/renderD{128 + gpu.index}": "" for gpu in self.gpus}
        files = {
            "/proc/driver/nvidia/version": (
                f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}\n"
            ),
            "/dev/nvidiactl": "",
            "/dev/nvidia-uvm": "",
        }
        return files | {f"/dev/nvidia{gpu.index}": "" for gpu in self.gpus}


def is_amd_node(topology: Topology) -> bool:
    return any(is_amd(gpu.model) for gpu in topology.gpus)


def use_of(seed: str, held: HeldSlice) -> Use:
    """Return the use that a slice makes of its GPUs, for the sampler."""
    return Use(seed=f"{seed}/{held.spec.claim_id}", since=held.since)


def host_view(
    topology: Topology, slices: Mapping[str, HeldSlice], *, seed: str, at: datetime
) -> GpuView:
    """Return what the vendor's tool sees on the host itself: every GPU, used or idle."""
    users = {uuid: held for held in slices.values() for uuid in held.spec.gpu_uuids}
    samples = {}
    for gpu in topology.gpus:
        limits = board_of(gpu.model).limits(gpu.memory_mib)
        held = users.get(gpu.uuid)
        samples[gpu.uuid] = (
            sample(use_of(seed, held), gpu.uuid, at, limits)
            if held and held.running
            else idle_sample(gpu.uuid, at, limits)
        )
    return GpuView(topology=topology, gpus=topology.gpus, samples=samples, at=at)


def absolute(path: str, *, cwd: str, home: str) -> str:
    """Return ``path`` as the shell means it, without ``.`` and ``..``."""
    if path == "~" or path.startswith("~/"):
        path = home + path[1:]
    return posixpath.normpath(posixpath.join("/", cwd, path)).replace("//", "/")


_OS_RELEASE = """\
PRETTY_NAME="Ubuntu 24.04.3 LTS (simulated)"
NAME="Ubuntu"
VERSION_ID="24.04"
VERSION="24.04.3 LTS (Noble Numbat)"
VERSION_CODENAME=noble
ID=ubuntu
ID_LIKE=debian
"""
_NVIDIA_TOOLS = "nvidia-smi, nvidia-smi -L, nvidia-smi topo -m"
_AMD_TOOLS = "amd-smi, amd-smi monitor, amd-smi topology, rocm-smi"
_README = """\
This is a slice of a simulated node with {count} x {model}.

Its place on the node, its keys, its network rules and its life are real to the platform; the
GPUs, the CPU and the memory are figures. Nothing you type here runs on a machine.

Try: {tools}, top, ls -la, help
"""
