"""Public keys as people paste them, and everything else people paste."""

import base64
import string

import asyncssh
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.access.ssh_keys import KEY_TYPES, SshKeyInvalid, parse_public_key, visible

ED25519 = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ada@laptop"
)


def field(value: bytes) -> bytes:
    return len(value).to_bytes(4) + value


def number(value: int) -> bytes:
    return field(value.to_bytes(value.bit_length() // 8 + 1))


def line(kind: str, *fields: bytes, comment: str = "") -> str:
    blob = field(kind.encode()) + b"".join(fields)
    return f"{kind} {base64.b64encode(blob).decode()} {comment}".strip()


def refusal(text: str) -> str:
    with pytest.raises(SshKeyInvalid) as caught:
        parse_public_key(text)
    (fault,) = caught.value.fields
    assert fault.field == "/public_key"
    assert fault.detail == caught.value.detail
    return fault.code


def openssh(
    key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey | dsa.DSAPublicKey,
) -> str:
    return key.public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    ).decode()


REAL_KEYS = {
    "ssh-ed25519": openssh(ed25519.Ed25519PrivateKey.generate().public_key()),
    "ecdsa-sha2-nistp256": openssh(ec.generate_private_key(ec.SECP256R1()).public_key()),
    "ecdsa-sha2-nistp384": openssh(ec.generate_private_key(ec.SECP384R1()).public_key()),
    "ecdsa-sha2-nistp521": openssh(ec.generate_private_key(ec.SECP521R1()).public_key()),
    "ssh-rsa": openssh(rsa.generate_private_key(65537, 2048).public_key()),
    "sk-ssh-ed25519@openssh.com": line(
        "sk-ssh-ed25519@openssh.com", field(bytes(range(32))), field(b"ssh:")
    ),
    "sk-ecdsa-sha2-nistp256@openssh.com": line(
        "sk-ecdsa-sha2-nistp256@openssh.com",
        field(b"nistp256"),
        field(b"\x04" + bytes(64)),
        field(b"ssh:"),
    ),
}


class TestParsePublicKey:
    @pytest.mark.parametrize("kind", KEY_TYPES)
    def test_takes_each_type(self, kind: str) -> None:
        key = parse_public_key(f"{REAL_KEYS[kind]} ada@laptop\n")

        assert key.type == kind
        assert key.line == REAL_KEYS[kind]
        assert key.comment == "ada@laptop"

    def test_has_the_fingerprint_that_others_compute(self) -> None:
        independent = asyncssh.import_public_key(ED25519).get_fingerprint()

        assert parse_public_key(ED25519).fingerprint == independent

    @given(
        st.sampled_from(list(REAL_KEYS.values())), st.sampled_from(["", " ", "\n", "\t", "\r\n"])
    )
    def test_takes_its_own_line_again(self, text: str, around: str) -> None:
        key = parse_public_key(around + text + around)

        assert parse_public_key(key.line) == key

    @given(st.text(max_size=80).filter(lambda text: not text.splitlines()[1:]))
    def test_keeps_of_a_comment_what_can_be_seen(self, comment: str) -> None:
        if "PRIVATE KEY" in comment:
            return
        stored = parse_public_key(f"{REAL_KEYS['ssh-ed25519']} x{comment}".rstrip("\n\r")).comment

        assert stored.isprintable()
        assert stored == visible(f"x{comment}")

    @given(st.data())
    def test_refuses_a_key_with_any_byte_missing_or_added(self, data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(sorted(REAL_KEYS)))
        blob = base64.b64decode(REAL_KEYS[kind].split()[1])
        cut = data.draw(st.integers(0, len(blob) - 1))
        for altered in (blob[:cut], blob + blob[:1]):
            assert refusal(f"{kind} {base64.b64encode(altered).decode()}x"[:-1]) == "damaged"

    @given(st.text(alphabet=string.printable, max_size=200))
    def test_refuses_garbage_with_a_sentence(self, text: str) -> None:
        assert refusal(text)

    def test_recognises_a_private_key_and_says_what_to_do(self) -> None:
        private = ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )

        with pytest.raises(SshKeyInvalid, match=r"private key.*Paste the public one") as caught:
            parse_public_key(private.decode())

        assert caught.value.fields[0].code == "private_key"
        assert private.decode().splitlines()[1] not in str(caught.value)

    def test_recognises_a_putty_private_key(self) -> None:
        assert refusal("PuTTY-User-Key-File-3: ssh-ed25519\n") == "private_key"

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("", "empty"),
            (" \n ", "empty"),
            (f"{ED25519}\n{ED25519}", "several_lines"),
            (f'command="/bin/sh" {ED25519}', "options"),
            (f"no-pty,from=*.example {ED25519}", "options"),
            ("ssh-ed25519", "damaged"),
            ("ssh-ed25519 not!base64", "damaged"),
            (ED25519.replace("ssh-ed25519 ", "ssh-rsa "), "damaged"),
            ("hello world", "not_a_key"),
            ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "other_format"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n", "other_format"),
            ("x" * 20_000, "too_long"),
            ("ssh-ed25519-cert-v01@openssh.com AAAA", "certificate"),
            (line("ssh-ed25519", field(bytes(31))), "damaged"),
            (
                line("ecdsa-sha2-nistp256", field(b"nistp384"), field(b"\x04" + bytes(64))),
                "damaged",
            ),
            (
                line("ecdsa-sha2-nistp256", field(b"nistp256"), field(b"\x02" + bytes(32))),
                "damaged",
            ),
            (line("ssh-rsa", number(65537), number((1 << 1023) + 1)), "weak"),
            (line("ssh-rsa", number(65537), number((1 << 2046) + 1)), "weak"),
            (line("ssh-rsa", number(65537), number((1 << 16384) + 1)), "weak"),
            (line("ssh-rsa", number(1), number((1 << 2047) + 1)), "damaged"),
            (line("ssh-rsa", number(65537), field(b"\0\0" + b"\xff" * 256)), "damaged"),
            ("ssh-dss AAAAB3NzaC1kc3M", "weak"),
        ],
    )
    def test_says_what_is_wrong(self, text: str, code: str) -> None:
        assert refusal(text) == code

    def test_takes_rsa_from_2048_bits(self) -> None:
        assert parse_public_key(line("ssh-rsa", number(65537), number((1 << 2047) + 1)))
