"""Which addresses may be dialled for an image, however they are written.

Seen to fail when an IPv4 address inside an IPv6 one was not looked at, and when a declared network
let link-local addresses through.
"""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_adapters.image_places import NoPlace, Origin, Places, embedded

PUBLIC = Places.declared(["https://registry.example"], [])
EVERYTHING = Places.declared([], ["0.0.0.0/0", "::/0"])
PRIVATE = ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")


def inside(networks: tuple[str, ...]) -> st.SearchStrategy[ipaddress.IPv4Address]:
    known = [ipaddress.IPv4Network(network) for network in networks]
    return st.sampled_from(known).flatmap(
        lambda network: st.integers(0, network.num_addresses - 1).map(network.__getitem__)
    )


def ways_to(address: ipaddress.IPv4Address) -> list[ipaddress.IPv6Address]:
    """Return IPv6 addresses that lead to an IPv4 one."""
    low = int(address)
    return [
        ipaddress.IPv6Address((0xFFFF << 32) | low),  # mapped
        ipaddress.IPv6Address((0x0064FF9B << 96) | low),  # NAT64
        ipaddress.IPv6Address((0x2002 << 112) | (low << 80)),  # 6to4
    ]


class TestAddresses:
    @given(address=inside(PRIVATE))
    def test_of_networks_nobody_declared_are_refused_in_every_spelling(
        self, address: ipaddress.IPv4Address
    ) -> None:
        assert not PUBLIC.allows(address)
        assert not any(map(PUBLIC.allows, ways_to(address)))

    @given(address=inside(("169.254.0.0/16", "224.0.0.0/4")))
    def test_of_metadata_services_are_refused_whatever_was_declared(
        self, address: ipaddress.IPv4Address
    ) -> None:
        assert not EVERYTHING.allows(address)
        assert not any(map(EVERYTHING.allows, ways_to(address)))

    @given(address=inside(PRIVATE))
    def test_of_declared_networks_are_dialled(self, address: ipaddress.IPv4Address) -> None:
        assert Places.declared([], PRIVATE).allows(address)

    @given(address=st.integers(0, (1 << 32) - 1).map(ipaddress.IPv4Address))
    def test_inside_others_are_judged_as_what_they_lead_to(
        self, address: ipaddress.IPv4Address
    ) -> None:
        for way in ways_to(address):
            assert embedded(way) == address
            assert PUBLIC.allows(way) == PUBLIC.allows(address)

    @pytest.mark.parametrize("text", ["::1", "::", "fe80::1", "fc00::1", "ff02::1"])
    def test_that_are_nobodys_own_are_refused(self, text: str) -> None:
        assert not PUBLIC.allows(ipaddress.ip_address(text))

    def test_that_are_public_are_dialled(self) -> None:
        assert PUBLIC.allows(ipaddress.ip_address("93.184.215.14"))
        assert PUBLIC.allows(ipaddress.ip_address("2606:2800:21f:cb07::1"))


class TestOrigins:
    @pytest.mark.parametrize(
        "url",
        [
            "gopher://registry.example/",
            "file:///etc/passwd",
            "//registry.example",
            "https://",
            "https://user@registry.example/x",
            "https://:secret@registry.example/x",
            "https://registry.example:99999/",
            "https://[::1",
            "registry.example",
        ],
    )
    def test_of_other_kinds_are_none(self, url: str) -> None:
        with pytest.raises(NoPlace):
            Origin.of(url)

    @pytest.mark.parametrize(
        "url",
        [
            "https://registry.example@10.0.0.1/",
            "https://registry.example.evil.test/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://registry.example:8443/",
            "http://registry.example/",
        ],
    )
    def test_that_only_look_like_a_declared_one_are_not_it(self, url: str) -> None:
        try:
            origin = Origin.of(url)
        except NoPlace:
            return
        assert origin not in PUBLIC.origins

    def test_are_the_same_however_their_name_is_written(self) -> None:
        assert Origin.of("HTTPS://Registry.EXAMPLE:443/v2/") == PUBLIC.origins[0]

    @pytest.mark.parametrize("text", ["https://registry.example/v2", "https://r.example?x=1"])
    def test_are_declared_without_a_path(self, text: str) -> None:
        with pytest.raises(NoPlace):
            Places.declared([text], [])

    def test_of_registries_take_the_scheme_they_were_declared_with(self) -> None:
        places = Places.declared(["http://inside.example:5000"], [])

        found = places.registry("inside.example:5000")

        assert found is not None
        assert (found.scheme, found.netloc) == ("http", "inside.example:5000")
        assert places.registry("inside.example") is None
