"""Unit tests reach nothing outside their process."""

import socket
from typing import Any, NoReturn

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection: a test that needs one is an integration test."""

    def refuse(self: socket.socket, *_: Any) -> NoReturn:
        raise AssertionError("a unit test opened a connection; it belongs to tests/integration")

    for name in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
