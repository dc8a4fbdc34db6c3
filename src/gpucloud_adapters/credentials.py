"""Private keys of nodes, one file each, readable by the owner alone."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpucloud_core.kernel.errors import NotFound

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True)
class FileCredentials:
    """A folder of private keys; the name of a key is the name of its file."""

    folder: Path

    async def __call__(self, name: str) -> str:
        """Return the private key called ``name``.

        Raises:
            NotFound: there is none, or others can read it.
        """
        path = self._path(name)
        try:
            if path.stat().st_mode & _OTHERS:
                raise NotFound(f"The credential {name} can be read by others; chmod it to 600.")
            return path.read_text(encoding="ascii")
        except FileNotFoundError:
            raise NotFound(f"There is no credential called {name}.") from None

    def keep(self, name: str, private_key: str) -> None:
        """Store a private key under ``name``, replacing what was there."""
        path = self._path(name)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(private_key, encoding="ascii")

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise NotFound("There is no credential of this name.")
        return self.folder / name
