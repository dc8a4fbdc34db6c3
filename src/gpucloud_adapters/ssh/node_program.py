"""``gpucloud-node`` as one file.

The file is a zip that Python runs: the modules of ``node/`` and those of the core that they
import, byte for byte the same however often it is packed, so that its SHA-256 names a version.
"""

import ast
import hashlib
import io
import zipfile
from functools import cache
from importlib.resources import files
from typing import Final

NODE_PATH: Final = "/usr/local/bin/gpucloud-node"
_INTERPRETER: Final = b"#!/usr/bin/python3 -I\n"
_ENTRY: Final = "gpucloud_adapters.ssh.node.main"
_MAIN: Final = f"import sys\n\nfrom {_ENTRY} import main\n\nsys.exit(main())\n"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the first day a zip can name


@cache
def program_bytes() -> bytes:
    """Return the program, ready to be put on a node with mode 0755."""
    packed = io.BytesIO()
    packed.write(_INTERPRETER)
    with zipfile.ZipFile(packed, "a") as archive:
        for name, source in {"__main__.py": _MAIN, **_sources()}.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            archive.writestr(entry, source, compress_type=zipfile.ZIP_DEFLATED)
    return packed.getvalue()


@cache
def program_sha256() -> str:
    """Return the hash that a node's copy must have."""
    return hashlib.sha256(program_bytes()).hexdigest()


def _sources() -> dict[str, str]:
    """Return our modules that the program imports, directly or not, by their path in the zip."""
    found: dict[str, str] = {}
    waiting = [_ENTRY]
    while waiting:
        module = waiting.pop()
        above = module.rpartition(".")[0]
        path, source = _read(module)
        if path in found:
            continue
        found[path] = source
        waiting += [above] if above else []
        waiting += _imports(source)
    return dict(sorted(found.items()))


def _imports(source: str) -> list[str]:
    """Return the modules of ours that a module names in an import."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{each.name}" for each in node.names]
        elif isinstance(node, ast.Import):
            names += [each.name for each in node.names]
    return [name for name in names if name.startswith("gpucloud_") and _exists(name)]


def _exists(module: str) -> bool:
    package, _, name = module.rpartition(".")
    if not package:
        return True
    folder = files(package.partition(".")[0])
    for part in package.split(".")[1:]:
        folder = folder.joinpath(part)
    return folder.joinpath(f"{name}.py").is_file() or folder.joinpath(name).is_dir()


def _read(module: str) -> tuple[str, str]:
    """Return where a module stands in the zip, and its source."""
    root, *parts = module.split(".")
    here = files(root)
    for part in parts[:-1]:
        here = here.joinpath(part)
    if parts and (file := here.joinpath(f"{parts[-1]}.py")).is_file():
        return f"{module.replace('.', '/')}.py", file.read_text()
    if parts:
        here = here.joinpath(parts[-1])
    return f"{module.replace('.', '/')}/__init__.py", here.joinpath("__init__.py").read_text()
