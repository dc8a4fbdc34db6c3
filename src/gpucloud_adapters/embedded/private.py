"""Files that only we may read: passwords, keys, and the folder they lie in."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def private_folder(path: Path) -> Path:
    """Make ``path`` if need be, and close it to everybody else."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)
    return path


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` by a file with ``text`` in it, whole or not at all."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with open(fresh, "x", encoding="utf-8", opener=private_opener) as file:
        file.write(text)
    fresh.replace(path)


def private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def kept_secret(path: Path, prefix: str = "") -> str:
    """Return the secret kept in ``path``, made at random the first time."""
    with suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8")
    private_folder(path.parent)
    write_private(path, prefix + secrets.token_urlsafe(32))
    return path.read_text(encoding="utf-8")
