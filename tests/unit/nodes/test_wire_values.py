"""Values that cross to a node: what passes, and the spellings that must not."""

import base64
import string
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.nodes import wire_values as check
from gpucloud_core.nodes.wire_values import Check, Wrong
from slice_builders import a_public_key


def blob(*parts: bytes) -> str:
    return base64.b64encode(b"".join(len(p).to_bytes(4) + p for p in parts)).decode()


def mpint(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1)


STRONG: Final = (1 << 2047) + 1
NEGATIVE: Final = b"\xff" * 256
POINT: Final = b"\x04" + bytes(64)

GOOD_KEYS: Final = {
    "ed25519": f"ssh-ed25519 {blob(b'ssh-ed25519', bytes(32))}",
    "rsa": f"ssh-rsa {blob(b'ssh-rsa', mpint(65537), mpint(STRONG))}",
    "ecdsa": "ecdsa-sha2-nistp256 " + blob(b"ecdsa-sha2-nistp256", b"nistp256", POINT),
    "a hardware key": "sk-ssh-ed25519@openssh.com "
    + blob(b"sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:"),
    "a hardware ecdsa key": "sk-ecdsa-sha2-nistp256@openssh.com "
    + blob(b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", POINT, b"ssh:me"),
}
BAD_KEYS: Final = {
    "nothing": "",
    "no blob": "ssh-ed25519",
    "not base64": "ssh-ed25519 ????",
    "loose base64": f"ssh-ed25519 {blob(b'ssh-ed25519', bytes(32))[:-1]}",
    "options": f"no-pty {a_public_key('a')}",
    "a command": f'command="id" {a_public_key("a")}',
    "two lines": f"{a_public_key('a')}\n{a_public_key('b')}",
    "a line break in its comment": f"{a_public_key('a')} me\r",
    "an escape code in its comment": f"{a_public_key('a')} \x1b[2J",
    "too long": f"{a_public_key('a')} {'x' * 9000}",
    "another type inside": f"ssh-rsa {blob(b'ssh-ed25519', bytes(32))}",
    "a short point": f"ssh-ed25519 {blob(b'ssh-ed25519', bytes(31))}",
    "something after the end": f"ssh-ed25519 {blob(b'ssh-ed25519', bytes(32), b'x')}",
    "a length beyond the end": "ssh-ed25519 " + base64.b64encode(b"\xff\xff\xff\xffssh").decode(),
    "weak rsa": f"ssh-rsa {blob(b'ssh-rsa', mpint(65537), mpint(1 << 1023))}",
    "negative rsa": f"ssh-rsa {blob(b'ssh-rsa', mpint(65537), NEGATIVE)}",
    "an even exponent": f"ssh-rsa {blob(b'ssh-rsa', mpint(4), mpint(STRONG))}",
    "giant rsa": f"ssh-rsa {blob(b'ssh-rsa', mpint(65537), mpint(1 << 20_000))}",
    "another curve": "ecdsa-sha2-nistp256 " + blob(b"ecdsa-sha2-nistp256", b"nistp384", POINT),
    "dsa": "ssh-dss " + blob(b"ssh-dss", b"\1", b"\1", b"\1", b"\1"),
    "a hardware key of a web page": "sk-ssh-ed25519@openssh.com "
    + blob(b"sk-ssh-ed25519@openssh.com", bytes(32), b"https://example.com"),
    "an empty hardware key": "sk-ssh-ed25519@openssh.com " + blob(b"sk-ssh-ed25519@openssh.com"),
}


class TestAPublicKey:
    @pytest.mark.parametrize("name", GOOD_KEYS)
    def test_is_taken_without_its_comment(self, name: str) -> None:
        line = GOOD_KEYS[name]

        assert check.public_key(f"{line} me@example.com").line == line

    @pytest.mark.parametrize("name", BAD_KEYS)
    def test_is_refused_with(self, name: str) -> None:
        with pytest.raises(Wrong):
            check.public_key(BAD_KEYS[name])

    def test_has_the_fingerprint_that_openssh_shows(self) -> None:
        # ssh-keygen -lf of this line, OpenSSH 9.2.
        line = f"ssh-ed25519 {blob(b'ssh-ed25519', bytes(32))}"

        assert check.public_key(line).fingerprint == _ZERO_FINGERPRINT

    def test_of_a_server_is_in_no_hardware_token(self) -> None:
        with pytest.raises(Wrong):
            check.host_key(GOOD_KEYS["a hardware key"])

    @given(text=st.text(string.printable, max_size=300))
    def test_is_never_a_crash(self, text: str) -> None:
        with pytest.raises(Wrong):
            check.public_key(f"ssh-ed25519 {text}")


_ZERO_FINGERPRINT: Final = "SHA256:kmYcvdi2GkPeWxB6XLjrZB8JHsy2Hm8luHMFp9GMvqk"

GOOD: Final[tuple[tuple[Check, str], ...]] = (
    (check.cpulist, "0"),
    (check.cpulist, "0-3,8,10-11"),
    (check.host, "10.0.0.1"),
    (check.host, "2001:db8::1"),
    (check.host, "node-1.example.com"),
    (check.cidr, "0.0.0.0/0"),
    (check.cidr, "2001:db8::/32"),
    (check.host_label, "a"),
    (check.username, "ubuntu"),
    (check.image, "nvcr.io/nvidia/pytorch:26.01-py3"),
    (check.image, "img_0123"),
    (check.gpu_uuid, "GPU-0a0b0c0d-0000-4000-8000-0123456789ab"),
)
BAD: Final[tuple[tuple[Check, Any], ...]] = (
    (check.cpulist, ""),
    (check.cpulist, "3-1"),
    (check.cpulist, "0-9999"),
    (check.cpulist, "0,"),
    (check.cpulist, "0 1"),
    (check.cpulist, "٣"),
    (check.host, ""),
    (check.host, "-oProxyCommand=id"),
    (check.host, "127.1"),
    (check.host, "0x7f.0.0.1"),
    (check.host, "fe80::1%eth0"),
    (check.host, "::FFFF:1.2.3.4"),
    (check.host, "a..b"),
    (check.host, "a\n"),
    (check.host, "x" * 254),
    (check.cidr, "10.0.0.1/8"),
    (check.cidr, "10.0.0.1"),
    (check.cidr, "10.0.0.0/08"),
    (check.cidr, "fe80::%1/64"),
    (check.cidr, 167772160),
    (check.host_label, "a.b"),
    (check.host_label, "-a"),
    (check.host_label, "a-"),
    (check.host_label, "A"),
    (check.host_label, "x" * 64),
    (check.username, "root"),
    (check.username, "sshd"),
    (check.username, "1a"),
    (check.username, "a:b"),
    (check.username, "x" * 33),
    (check.image, "../../etc"),
    (check.image, "a/../b"),
    (check.image, "/etc"),
    (check.image, "a b"),
    (check.gpu_uuid, "GPU-0"),
    (check.gpu_uuid, "GPU-0A0B0C0D-0000-4000-8000-0123456789AB"),
    (check.claim_id, "alc_00000000000000000000000000"),
    (check.claim_id, "clm_0000000000000000000000000i"),
    (check.claim_id, None),
    (check.port, 0),
    (check.port, 65_536),
    (check.port, True),
    (check.port, "22"),
    (check.port, 22.0),
    (check.flag, 1),
    (check.words, b"x"),
    (check.version, "1.0; id"),
)


class TestAValue:
    @pytest.mark.parametrize(("passes", "value"), GOOD)
    def test_passes_as_it_is(self, passes: Check, value: str) -> None:
        assert passes(value) == value

    @pytest.mark.parametrize(("passes", "value"), BAD)
    def test_is_refused(self, passes: Check, value: object) -> None:
        with pytest.raises(Wrong):
            passes(value)

    @given(value=st.one_of(st.none(), st.integers(), st.text(), st.lists(st.text())))
    def test_is_refused_or_passed_and_never_a_crash(self, value: object) -> None:
        for passes in {each for each, _ in (*GOOD, *BAD)}:
            with suppress(Wrong):
                passes(value)


class TestWords:
    @given(text=st.text())
    def test_are_safe_to_show_and_stay_as_they_are_after_that(self, text: str) -> None:
        shown = check.words(text)

        assert shown.isprintable()
        assert len(shown) <= check.TEXT_MAX
        assert check.words(shown) == shown
