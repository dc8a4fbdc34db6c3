"""The commands a slice has, by name.

The list is short on purpose: what is here answers as the real thing does, and what is not says so.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from gpucloud_adapters.simulated.host.file_commands import cat, cd, ls, pwd
from gpucloud_adapters.simulated.host.gpu_commands import amd_smi, nvidia_smi, rocm_smi
from gpucloud_adapters.simulated.host.interior import Interior
from gpucloud_adapters.simulated.host.machine_text import columns
from gpucloud_adapters.simulated.host.outcome import Command, Context, Outcome

EXITS: Final = ("exit", "logout")
"""Ends of the shell; it knows them itself."""

_KERNEL: Final = "6.8.0-86-generic"
_BUILD: Final = "#87-Ubuntu SMP PREEMPT_DYNAMIC"
_UNITS: Final[Mapping[str, tuple[int, str]]] = {
    "-k": (1, ""),
    "-m": (1024, ""),
    "-g": (1024 * 1024, ""),
    "-h": (1024 * 1024, "Gi"),
}
_DISK_KIB: Final = 512 * 1024 * 1024


def _echo(_context: Context, arguments: Sequence[str]) -> Outcome:
    if arguments[:1] == ["-n"]:
        return Outcome(text=" ".join(arguments[1:]))
    return Outcome(text=f"{' '.join(arguments)}\n")


def _env(context: Context, _arguments: Sequence[str]) -> Outcome:
    rows = sorted(context.variables.items())
    return Outcome(text="".join(f"{name}={value}\n" for name, value in rows))


def _uname(context: Context, arguments: Sequence[str]) -> Outcome:
    facts = {
        "s": "Linux",
        "n": context.interior.held.spec.hostname,
        "r": _KERNEL,
        "v": _BUILD,
        "m": "x86_64",
        "o": "GNU/Linux",
    }
    letters = "".join(each.removeprefix("-") for each in arguments) or "s"
    wanted = facts if "a" in letters else {key: facts[key] for key in facts if key in letters}
    if strange := set(letters) - {*facts, "a"}:
        return Outcome(error=f"uname: invalid option -- '{min(strange)}'\n", status=1)
    return Outcome(text=f"{' '.join(wanted.values())}\n")


def _hostname(context: Context, _arguments: Sequence[str]) -> Outcome:
    return Outcome(text=f"{context.interior.held.spec.hostname}\n")


def _whoami(context: Context, _arguments: Sequence[str]) -> Outcome:
    return Outcome(text=f"{context.interior.held.spec.username}\n")


def _nproc(context: Context, _arguments: Sequence[str]) -> Outcome:
    return Outcome(text=f"{context.interior.cpu_count}\n")


def _date(context: Context, arguments: Sequence[str]) -> Outcome:
    now = context.interior.now
    if arguments[:1] in (["-Is"], ["-Iseconds"]):
        return Outcome(text=f"{now.isoformat(timespec='seconds')}\n")
    return Outcome(text=f"{now:%a %b %e %H:%M:%S UTC %Y}\n")


def _free(context: Context, arguments: Sequence[str]) -> Outcome:
    unit, suffix = _UNITS.get(arguments[0] if arguments else "-k", _UNITS["-k"])
    total = context.interior.held.spec.memory_mib * 1024
    used, cached = total * 5 // 100, total * 4 // 100
    memory = [total, used, total - used - cached, total // 2000, cached, total - used]

    def cells(values: Sequence[int]) -> list[str]:
        return [f"{f'{value // unit}{suffix}':>11}" for value in values]

    heads = ("total", "used", "free", "shared", "buff/cache", "available")
    rows = [
        ["     ", *(f"{head:>11}" for head in heads)],
        ["Mem: ", *cells(memory)],
        ["Swap:", *cells([0, 0, 0]), "", "", ""],
    ]
    return Outcome(text=columns(rows))


def _df(context: Context, arguments: Sequence[str]) -> Outcome:
    human = "-h" in arguments
    shared = context.interior.held.spec.memory_mib * 1024 // 2
    volumes = (
        ("overlay", _DISK_KIB, 3, "/"),
        ("tmpfs", shared, 0, "/dev/shm"),  # noqa: S108  a name in a table
        *(
            (f"/dev/{disk.name}", disk.size_bytes // 1024, 0, target)
            for target, disk in context.interior.data_disks().items()
        ),
    )
    rows = [["Filesystem", "Size" if human else "1K-blocks", "Used", "Avail", "Use%", "Mounted on"]]
    for name, size, percent, mount in volumes:
        used = size * percent // 100
        sizes = [_size(value, human=human) for value in (size, used, size - used)]
        rows.append([name, *sizes, f"{percent}%", mount])
    return Outcome(text=columns(rows))


def _size(kib: int, *, human: bool) -> str:
    return f"{kib // (1024 * 1024)}G" if human else str(kib)


def _clear(_context: Context, _arguments: Sequence[str]) -> Outcome:
    return Outcome(text="\x1b[H\x1b[2J\x1b[3J")


def _help(context: Context, _arguments: Sequence[str]) -> Outcome:
    names = " ".join(sorted((*commands_of(context.interior), *EXITS)))
    return Outcome(
        text=(
            f"This slice is simulated. It has: {names}\n"
            "Commands may be joined by ; && and ||. Tab completes, arrows recall.\n"
        )
    )


def _top(context: Context, arguments: Sequence[str]) -> Outcome:
    if "-b" in arguments:
        return Outcome(text=_top_frame(context.interior, 100, 24))
    if not context.columns:
        return Outcome(error="top: failed tty get\n", status=1)
    interior = context.interior
    return Outcome(live=lambda width, height: _top_frame(interior, width, height))


def _top_frame(interior: Interior, width: int, height: int) -> str:
    now, held = interior.now, interior.held
    up = str(timedelta(seconds=max(0, int((now - held.since).total_seconds()))))
    view = interior.gpu_view()
    busy = sum(sample.utilization_percent for sample in view.samples.values())
    share = busy / max(1, len(view.samples))
    memory = held.spec.memory_mib
    lines = [
        f"top - {now:%H:%M:%S} up {up},  1 user,  load average: {share / 9:.2f}, {share / 10:.2f}",
        "Tasks:   4 total,   1 running,   3 sleeping,   0 stopped,   0 zombie",
        f"%Cpu(s): {share / 12:4.1f} us,  0.4 sy,  0.0 ni, {99.6 - share / 12:4.1f} id,  0.0 wa",
        f"MiB Mem : {memory:9.1f} total, {memory * 0.91:9.1f} free, {memory * 0.05:9.1f} used",
        "MiB Swap:       0.0 total,       0.0 free,       0.0 used",
        "",
        "    PID USER      PR  NI    VIRT    RES  S  %CPU  %MEM     TIME+ COMMAND",
    ]
    user = f"{held.spec.username:<8.8}"
    lines += [
        "      1 root      20   0    2792   1024  S   0.0   0.0   0:00.02 init",
        "     17 root      20   0   15432   9216  S   0.0   0.0   0:00.01 sshd",
        f"     24 {user}  20   0    7780   4352  S   0.0   0.0   0:00.03 bash",
        f"     31 {user}  20   0   11860   5632  R   0.3   0.0   0:00.01 top",
        "",
        f"GPUs: {len(view.samples)}, {share:.0f} % busy    press q to quit",
    ]
    return "".join(f"{line[:width]}\n" for line in lines[: max(1, height - 1)])


_COMMANDS: Final[Mapping[str, Command]] = {
    "cat": cat,
    "cd": cd,
    "clear": _clear,
    "date": _date,
    "df": _df,
    "echo": _echo,
    "env": _env,
    "free": _free,
    "help": _help,
    "hostname": _hostname,
    "ls": ls,
    "nproc": _nproc,
    "pwd": pwd,
    "top": _top,
    "uname": _uname,
    "whoami": _whoami,
}
_NVIDIA: Final[Mapping[str, Command]] = {**_COMMANDS, "nvidia-smi": nvidia_smi}
_AMD: Final[Mapping[str, Command]] = {**_COMMANDS, "amd-smi": amd_smi, "rocm-smi": rocm_smi}


def commands_of(interior: Interior) -> Mapping[str, Command]:
    """Return the commands of a slice by name; each vendor's tools are on its own nodes only."""
    return _AMD if interior.is_amd else _NVIDIA
