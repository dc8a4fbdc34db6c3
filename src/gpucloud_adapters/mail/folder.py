"""Mails as files of a folder, one each, to be read with any mail program: what ``up`` does."""

import asyncio
import os
from pathlib import Path

from gpucloud_adapters.mail.mime import mime_of
from gpucloud_core.notices.mail import MailUnavailable, Message


class FolderMailer:
    """Writes each message once, as ``<id>.eml``, for our eyes only."""

    def __init__(self, folder: Path, *, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    async def send(self, message: Message) -> None:
        data = mime_of(message, self._sender).as_bytes()
        try:
            await asyncio.to_thread(self._write, self._folder / f"{message.id}.eml", data)
        except OSError as error:
            raise MailUnavailable(f"The folder of mails cannot be written: {error}.") from error

    def _write(self, path: Path, data: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        partial.replace(path)
