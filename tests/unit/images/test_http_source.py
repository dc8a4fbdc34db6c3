"""Images over HTTP: what is dialled is what was checked, and nobody is followed elsewhere.

Seen to fail when a name was dialled instead of its checked address, when one good address among
bad ones was enough, when redirects were followed, and when a manifest was read without a limit.
"""

from collections.abc import Sequence
from typing import Final

import httpx
import pytest

from contracts.image_source import (
    DISK,
    MANIFEST,
    REGISTRY,
    SERVER,
    ImageSourceContract,
    Told,
    at,
    named,
)
from gpucloud_adapters.image_places import Places
from gpucloud_adapters.images import http_source
from gpucloud_adapters.images.http_source import HttpImageSource
from gpucloud_core.catalog.ports import (
    ImageNotThere,
    ImagePlaceRefused,
    ImageTooLarge,
    ImageUnreachable,
)
from world.image_places import answer

GOOD: Final = "93.184.215.14"
PLACES: Final = Places.declared([f"https://{REGISTRY}", f"https://{SERVER}"], [])
REALM: Final = f"https://{SERVER}/token"


class Net:
    """Names and what they resolve to, and every request that was sent."""

    def __init__(self) -> None:
        self.names: dict[str, Sequence[str]] = {REGISTRY: (GOOD,), SERVER: ("2606:2800::1", GOOD)}
        self.lookups: list[str] = []
        self.requests: list[httpx.Request] = []
        self.realm = REALM

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.lookups.append(host)
        if host not in self.names:
            raise OSError("no such name")
        return self.names[host]

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        host = request.headers["host"]
        path = request.url.raw_path.decode()
        status, headers, body = answer(host, path, request.headers, realm=self.realm)
        told = {**headers, "content-length": str(len(body))}
        return httpx.Response(status, headers=told, stream=httpx.ByteStream(body))

    def source(self, places: Places = PLACES) -> HttpImageSource:
        transport = httpx.MockTransport(self.handle)
        return HttpImageSource(places, transport=transport, resolver=self.resolve)


@pytest.fixture
def net() -> Net:
    return Net()


class TestHttpImageSource(ImageSourceContract):
    @pytest.fixture
    def source(self, net: Net) -> HttpImageSource:
        return net.source()

    async def test_dials_the_address_it_checked_and_shows_the_name(self, net: Net) -> None:
        await net.source().file(at("disk.qcow2", DISK), Told())

        (request,) = net.requests
        assert request.url.host == "2606:2800::1"
        assert request.headers["host"] == SERVER
        assert request.extensions["sni_hostname"] == SERVER
        assert net.lookups == [SERVER], "a second answer of the resolver is never asked for"

    @pytest.mark.parametrize(
        "found",
        [("10.0.0.1",), (GOOD, "127.0.0.1"), ("::ffff:169.254.169.254",), ("fe80::1%eth0",)],
    )
    async def test_asks_nobody_at_an_address_that_is_not_allowed(
        self, net: Net, found: Sequence[str]
    ) -> None:
        net.names[SERVER] = net.names[REGISTRY] = found

        with pytest.raises(ImagePlaceRefused):
            await net.source().file(at("disk.qcow2", DISK), Told())
        with pytest.raises(ImagePlaceRefused):
            await net.source().manifest(named(MANIFEST))
        assert net.requests == []

    async def test_asks_inside_where_that_was_declared(self, net: Net) -> None:
        places = Places.declared([f"https://{SERVER}"], ["10.4.0.0/16"])
        net.names[SERVER] = ("10.4.0.9",)

        assert (await net.source(places).file(at("disk.qcow2", DISK), Told())).kind == "qcow2"

    async def test_follows_nobody_elsewhere(self, net: Net) -> None:
        with pytest.raises(ImageNotThere, match="sends us elsewhere"):
            await net.source().file(at("moved.qcow2", DISK), Told())
        assert len(net.requests) == 1

    async def test_takes_tokens_from_declared_places_alone(self, net: Net) -> None:
        net.realm = "http://169.254.169.254/latest/meta-data/"

        with pytest.raises(ImagePlaceRefused):
            await net.source().manifest(named(MANIFEST))
        assert len(net.requests) == 1

    async def test_does_not_know_what_does_not_answer(self, net: Net) -> None:
        del net.names[SERVER]
        with pytest.raises(ImageUnreachable):
            await net.source().file(at("disk.qcow2", DISK), Told())

        async def broken(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("refused")

        source = HttpImageSource(
            PLACES, transport=httpx.MockTransport(broken), resolver=net.resolve
        )
        with pytest.raises(ImageUnreachable):
            await source.manifest(named(MANIFEST))

    @pytest.mark.parametrize("status", [429, 500, 503])
    async def test_does_not_know_what_has_no_time(self, net: Net, status: int) -> None:
        async def busy(request: httpx.Request) -> httpx.Response:
            return httpx.Response(status)

        source = HttpImageSource(PLACES, transport=httpx.MockTransport(busy), resolver=net.resolve)
        with pytest.raises(ImageUnreachable):
            await source.file(at("disk.qcow2", DISK), Told())

    async def test_reads_no_more_than_a_manifest_may_be(
        self, net: Net, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http_source, "MANIFEST_MAX", len(MANIFEST) - 1)
        with pytest.raises(ImageTooLarge):
            await net.source().manifest(named(MANIFEST))

        monkeypatch.setattr(http_source, "FILE_MAX", len(DISK) - 1)
        with pytest.raises(ImageTooLarge):
            await net.source().file(at("disk.qcow2", DISK), Told())

    async def test_tells_how_far_it_is(self, net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http_source, "_TELL_SECONDS", 0.0)
        told = Told()

        await net.source().file(at("disk.qcow2", DISK), told)

        assert told.said[-1] == (len(DISK), len(DISK))
