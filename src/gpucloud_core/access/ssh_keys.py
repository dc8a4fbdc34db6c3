"""A user's public SSH keys: read strictly, kept in canonical form, never a private one.

The text is taken apart down to the numbers inside the blob: the words in front of it prove
nothing, and a node must never be given a line that says more than one plain key.
Sources: RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 section 4, OpenSSH PROTOCOL.u2f,
sshd(8) AUTHORIZED_KEYS; read 2026-11-22.
"""

import base64
import binascii
import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from gpucloud_core.access.acting import fact_by, person
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor, SshKey
from gpucloud_core.access.ports import AccessUnit
from gpucloud_core.kernel.errors import AlreadyExists, DomainError, ErrorKind, FieldError, NotFound
from gpucloud_core.kernel.ids import Ids, SshKeyId
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.kernel.unit import Scope, Transactions

TEXT_MAX: Final = 16_384
COMMENT_MAX: Final = 200
NAME_MAX: Final = 100
RSA_BITS: Final = range(2048, 16_385)
_ED25519_BYTES: Final = 32
_RSA_EXPONENT_MIN: Final = 3
_UNCOMPRESSED: Final = 4


class SshKeyInvalid(DomainError):
    """This is not a public key we can use."""

    code = "ssh_key_invalid"
    kind = ErrorKind.INVALID
    next_step = "Paste the one line of the .pub file, such as ~/.ssh/id_ed25519.pub."


class SshKeyDuplicate(DomainError):
    """You have this key already."""

    code = "ssh_key_duplicate"
    kind = ErrorKind.CONFLICT
    next_step = "Use the key you have, or delete it first."


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key as it is kept. ``line`` is ``type base64``, without options or comment."""

    type: str
    line: str
    fingerprint: str
    comment: str = ""


def parse_public_key(text: str) -> PublicKey:
    """Return the key that ``text`` is: one line of an OpenSSH public key file.

    Raises:
        SshKeyInvalid: it is anything else; the sentence says what, and what to paste instead.
    """
    kind, encoded, comment = _fields(text)
    try:
        blob = base64.b64decode(encoded, validate=True)
        reader = _Reader(blob)
        named = reader.string()
        if named != kind.encode():
            raise _refused("damaged", f"The line says {kind}, but the key in it is another kind.")
        _KINDS[kind](reader)
        reader.end()
    except (binascii.Error, ValueError):
        raise _refused(
            "damaged", "This key is cut off or altered; copy the whole line again."
        ) from None
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return PublicKey(
        type=kind,
        line=f"{kind} {base64.b64encode(blob).decode()}",
        fingerprint=f"SHA256:{digest}",
        comment=visible(comment)[:COMMENT_MAX],
    )


def visible(text: str) -> str:
    """Return ``text`` on one line, without the characters that nobody sees."""
    shown = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    return " ".join(shown.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class AddSshKey:
    """Keep one of the actor's own public keys."""

    transactions: Transactions[AccessUnit]
    ids: Ids

    async def __call__(self, *, actor: Actor, name: str, public_key: str) -> SshKey:
        """Store the key and return it.

        Raises:
            SshKeyInvalid: the text is not a usable public key.
            SshKeyDuplicate: the actor has it already.
        """
        require(actor, Action.SSH_KEY_MANAGE, tenant_id=actor.tenant_id)
        user_id = person(actor)
        parsed = parse_public_key(public_key)
        shown = visible(name) or parsed.comment or parsed.type
        try:
            async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
                twins = await unit.ssh_keys.find(
                    user_id=user_id, fingerprint=parsed.fingerprint, deleted_at=None
                )
                if twins:
                    raise _duplicate(twins[0].name)
                key = SshKey(
                    id=SshKeyId(self.ids.new("key")),
                    tenant_id=actor.tenant_id,
                    user_id=user_id,
                    name=shown[:NAME_MAX],
                    type=parsed.type,
                    public_key=parsed.line,
                    fingerprint=parsed.fingerprint,
                    comment=parsed.comment,
                    created_at=await unit.now(),
                )
                await unit.ssh_keys.add(key)
                await unit.audit(
                    fact_by(
                        actor,
                        action="ssh_key.add",
                        target=key.id,
                        changes={"fingerprint": [None, key.fingerprint], "name": [None, key.name]},
                    )
                )
        except AlreadyExists:  # a twin request was faster
            raise _duplicate(shown) from None
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSshKeys:
    """The actor's own keys, a page at a time."""

    transactions: Transactions[AccessUnit]

    async def __call__(self, *, actor: Actor, query: ListQuery | None = None) -> Page[SshKey]:
        require(actor, Action.SSH_KEY_READ, tenant_id=actor.tenant_id)
        asked = query or ListQuery()
        own = {**asked.where, "user_id": (person(actor),), "deleted_at": (None,)}
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            return await unit.ssh_keys.page(replace(asked, where=own))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSshKey:
    """Forget a key. Allocations that were given it keep it until their keys are changed."""

    transactions: Transactions[AccessUnit]

    async def __call__(self, *, actor: Actor, key_id: SshKeyId) -> None:
        """Delete the key; deleting it again is NOT_FOUND, as for one that never was."""
        require(actor, Action.SSH_KEY_MANAGE, tenant_id=actor.tenant_id)
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            key = await unit.ssh_keys.lock(key_id)
            if key is None or key.user_id != actor.user_id or key.deleted_at is not None:
                raise NotFound("There is no SSH key with this id.")
            now = await unit.now(not_before=key.created_at)
            await unit.ssh_keys.put(replace(key, deleted_at=now))
            await unit.audit(
                fact_by(
                    actor,
                    action="ssh_key.delete",
                    target=key.id,
                    changes={"fingerprint": [key.fingerprint, None], "name": [key.name, None]},
                )
            )


def _duplicate(name: str) -> SshKeyDuplicate:
    return SshKeyDuplicate(
        f"You have this key already, as “{name}”.",
        fields=[FieldError("/public_key", "duplicate", f"This is the key “{name}”.")],
    )


def _refused(code: str, detail: str) -> SshKeyInvalid:
    return SshKeyInvalid(detail, fields=[FieldError("/public_key", code, detail)])


class _Reader:
    """Takes the fields of a key blob one after another.

    Raises:
        ValueError: the blob does not hold what is asked for.
    """

    def __init__(self, blob: bytes) -> None:
        self._rest = blob

    def string(self) -> bytes:
        length = int.from_bytes(self._take(4))
        return self._take(length)

    def number(self) -> int:
        digits = self.string()
        value = int.from_bytes(digits, signed=True)
        if value <= 0 or len(digits) != value.bit_length() // 8 + 1:
            raise ValueError("not a positive number in its shortest form")
        return value

    def end(self) -> None:
        if self._rest:
            raise ValueError("there is more than a key")

    def _take(self, length: int) -> bytes:
        taken, self._rest = self._rest[:length], self._rest[length:]
        if len(taken) != length:
            raise ValueError("it ends too early")
        return taken


def _rsa(reader: _Reader) -> None:
    exponent, modulus = reader.number(), reader.number()
    if modulus.bit_length() not in RSA_BITS:
        raise _refused(
            "weak",
            f"This RSA key has {modulus.bit_length()} bits; it takes 2048 to 16384. "
            "Make one with ssh-keygen -t ed25519.",
        )
    if exponent < _RSA_EXPONENT_MIN or exponent % 2 == 0 or modulus % 2 == 0:
        raise ValueError("no RSA key has these numbers")


def _ed25519(reader: _Reader) -> None:
    if len(reader.string()) != _ED25519_BYTES:
        raise ValueError("an Ed25519 key has 32 bytes")


def _ecdsa(curve: str, coordinate_bytes: int) -> Callable[[_Reader], None]:
    def read(reader: _Reader) -> None:
        if reader.string() != curve.encode():
            raise ValueError("the curve is not the one named")
        point = reader.string()
        if len(point) != 1 + 2 * coordinate_bytes or point[0] != _UNCOMPRESSED:
            raise ValueError("not an uncompressed point of the curve")

    return read


def _security_key(inner: Callable[[_Reader], None]) -> Callable[[_Reader], None]:
    def read(reader: _Reader) -> None:
        inner(reader)
        if not reader.string():
            raise ValueError("a security key names its application")

    return read


_KINDS: Final[Mapping[str, Callable[[_Reader], None]]] = {
    "ssh-ed25519": _ed25519,
    "ecdsa-sha2-nistp256": _ecdsa("nistp256", 32),
    "ecdsa-sha2-nistp384": _ecdsa("nistp384", 48),
    "ecdsa-sha2-nistp521": _ecdsa("nistp521", 66),
    "ssh-rsa": _rsa,
    "sk-ssh-ed25519@openssh.com": _security_key(_ed25519),
    "sk-ecdsa-sha2-nistp256@openssh.com": _security_key(_ecdsa("nistp256", 32)),
}
KEY_TYPES: Final = tuple(_KINDS)
"""The types of key that are taken."""


def _fields(text: str) -> tuple[str, str, str]:
    """Return type, base64 and comment of the one line that ``text`` must be."""
    _refuse_other_files(text)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise _refused("empty", "Paste the line of a public key.")
    if len(lines) > 1:
        raise _refused("several_lines", "Paste one key, on one line.")
    words = re.split(r"[ \t]+", lines[0].strip(), maxsplit=2)
    if words[0] not in _KINDS:
        raise _wrong_start(words[0], lines[0])
    if len(words) == 1:
        raise _refused("damaged", "The key itself is missing after its type.")
    return words[0], words[1], words[2] if len(words) > 2 else ""  # noqa: PLR2004  the third word


def _refuse_other_files(text: str) -> None:
    if len(text) > TEXT_MAX:
        raise _refused("too_long", "This is far longer than a public key.")
    if "PRIVATE KEY" in text or "PuTTY-User-Key-File" in text:
        raise _refused(
            "private_key",
            "This is a private key. Keep it to yourself: nothing of it was stored. "
            "Paste the public one, from the file that ends in .pub.",
        )
    if "-----BEGIN " in text or "---- BEGIN " in text:
        raise _refused(
            "other_format", "This is another file format; ssh-keygen -i -f FILE turns it into ours."
        )


def _wrong_start(word: str, line: str) -> SshKeyInvalid:
    if word == "ssh-dss":
        return _refused("weak", "DSA keys are no longer safe; make one with ssh-keygen -t ed25519.")
    if "-cert-v01@" in word:
        return _refused("certificate", "This is a certificate; paste the public key it is for.")
    if any(f"{kind} " in line for kind in (*_KINDS, "ssh-dss")):
        return _refused("options", "Leave out what stands before the type of the key.")
    return _refused(
        "not_a_key", f"A public key begins with its type, such as {', '.join(KEY_TYPES[:2])}."
    )
