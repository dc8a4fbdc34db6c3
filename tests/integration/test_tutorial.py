"""The tutorial's page, run as it stands on the bare wheel in an empty environment."""

import re
import subprocess
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "tutorial" / "embed.md"


class TestEmbedding:
    def test_launches_meters_and_releases_with_the_bare_wheel(
        self, bare_wheel_python: Path
    ) -> None:
        page = PAGE.read_text(encoding="utf-8")
        code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
        promised = re.search(r"It prints `([^`]+)`", page)
        assert code is not None
        assert promised is not None

        done = subprocess.run(
            (str(bare_wheel_python), "-I", "-c", code.group(1)),
            capture_output=True,
            text=True,
            check=False,
        )

        assert (done.stdout.strip(), done.stderr) == (promised.group(1), "")
