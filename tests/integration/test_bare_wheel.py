"""The wheel as somebody gets it who wants the library alone."""

import email
import subprocess
import zipfile
from pathlib import Path


class TestTheBareWheel:
    def test_needs_nothing_unless_an_extra_is_asked_for(self, bare_wheel: Path) -> None:
        with zipfile.ZipFile(bare_wheel) as wheel:
            [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
            metadata = email.message_from_bytes(wheel.read(name))
        needed = [str(each) for each in metadata.get_all("Requires-Dist", [])]

        assert needed
        assert [each for each in needed if "extra ==" not in each] == []

    def test_carries_what_a_type_checker_and_a_browser_need(self, bare_wheel: Path) -> None:
        with zipfile.ZipFile(bare_wheel) as wheel:
            names = set(wheel.namelist())

        assert names >= {"gpucloud_core/py.typed", "gpucloud_adapters/py.typed"}
        assert "gpucloud_web/static/build/manifest.json" in names
        assert not any(name.endswith(".map") for name in names)

    def test_brings_the_core_and_the_memory_adapters(self, bare_wheel_python: Path) -> None:
        code = (
            "import importlib, pkgutil, gpucloud_core, gpucloud_adapters.memory as memory\n"
            "for package in (gpucloud_core, memory):\n"
            "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
            "        importlib.import_module(module.name)\n"
        )
        done = subprocess.run(
            (str(bare_wheel_python), "-I", "-c", code), capture_output=True, text=True, check=False
        )

        assert (done.returncode, done.stderr) == (0, "")

    def test_says_in_words_what_the_command_would_need(self, bare_wheel_python: Path) -> None:
        command = bare_wheel_python.parent / "gpucloud"
        done = subprocess.run((str(command), "up"), capture_output=True, text=True, check=False)

        assert done.returncode == 2
        assert "gpucloud[server,embedded]" in done.stderr
        assert "Traceback" not in done.stderr
