"""The vendors' tools inside a slice: their options, over the texts that are rendered of a view."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gpucloud_adapters.simulated.host import amd_smi as amd_texts
from gpucloud_adapters.simulated.host import nvidia_smi as texts
from gpucloud_adapters.simulated.host import rocm_smi as rocm_texts
from gpucloud_adapters.simulated.host.nvidia_smi import GpuView
from gpucloud_adapters.simulated.host.nvidia_xml import report
from gpucloud_adapters.simulated.host.outcome import Context, Outcome

_INVALID_ARGUMENT: Final = 2
_VIEWS: Final[Mapping[tuple[str, ...], Callable[[GpuView], str]]] = {
    (): texts.table,
    ("-L",): texts.listing,
    ("--list-gpus",): texts.listing,
    ("-q", "-x"): report,
    ("-x", "-q"): report,
    ("topo", "-m"): texts.matrix,
    ("topo", "--matrix"): texts.matrix,
}
_HELP: Final = """\
NVIDIA System Management Interface (simulated)

    nvidia-smi                     the table of this slice's GPUs
    nvidia-smi -L                  one line per GPU
    nvidia-smi -q -x               everything, as XML
    nvidia-smi topo -m             how the GPUs reach each other
    nvidia-smi --query-gpu=index,name,utilization.gpu --format=csv[,noheader][,nounits]
"""


def nvidia_smi(context: Context, arguments: Sequence[str]) -> Outcome:
    view = context.interior.gpu_view()
    if arguments[:1] in (["-h"], ["--help"]):
        return Outcome(text=_HELP)
    if any(argument.startswith("--query-gpu=") for argument in arguments):
        return _query(view, arguments)
    render = _VIEWS.get(tuple(arguments))
    return Outcome(text=render(view)) if render else _refused()


_AMD_HELP: Final = """\
usage: amd-smi [-h]  ...

AMD System Management Interface (simulated)

AMD-SMI Commands:
    list                List GPU information (--json)
    static              Static information of the GPUs (--json)
    topology            How the GPUs reach each other (--json)
    monitor             One line per GPU of what it does now
"""
_ROCM_HELP: Final = """\
usage: rocm-smi [-h] [--showproductname] [--showtopo]

ROCm System Management Interface (simulated)
"""


def amd_smi(context: Context, arguments: Sequence[str]) -> Outcome:
    if arguments[:1] in (["-h"], ["--help"], ["help"]):
        return Outcome(text=_AMD_HELP)
    render = amd_texts.VIEWS.get(tuple(arguments))
    if render is None:
        said = f"amd-smi: error: argument : invalid choice: '{' '.join(arguments)}'\n"
        return Outcome(text=_AMD_HELP, error=said, status=_INVALID_ARGUMENT)
    return Outcome(text=render(context.interior.gpu_view()))


def rocm_smi(context: Context, arguments: Sequence[str]) -> Outcome:
    if arguments[:1] in (["-h"], ["--help"]):
        return Outcome(text=_ROCM_HELP)
    render = rocm_texts.VIEWS.get(tuple(arguments))
    if render is None:
        said = f"rocm-smi: error: unrecognized arguments: {' '.join(arguments)}\n"
        return Outcome(text=_ROCM_HELP, error=said, status=_INVALID_ARGUMENT)
    return Outcome(text=render(context.interior.gpu_view()))


def _query(view: GpuView, arguments: Sequence[str]) -> Outcome:
    given = dict(argument.partition("=")[::2] for argument in arguments)
    form = given.get("--format", "").split(",")
    if set(given) != {"--query-gpu", "--format"} or form[0] != "csv":
        return _refused()
    names = [name.strip() for name in given["--query-gpu"].split(",")]
    if unknown := [name for name in names if name not in texts.FIELDS]:
        return Outcome(
            text=f'Field "{unknown[0]}" is not a valid field to query.\n',
            status=_INVALID_ARGUMENT,
        )
    return Outcome(
        text=texts.comma_separated(
            view, names, header="noheader" not in form, units="nounits" not in form
        )
    )


def _refused() -> Outcome:
    return Outcome(
        text=("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n"),
        status=_INVALID_ARGUMENT,
    )
