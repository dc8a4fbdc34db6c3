"""What a username, a password and a mail address may be.

Rules follow NIST SP 800-63B-4 section 3.1.1: length and a list of known passwords, no rules about
kinds of characters, nothing truncated. Names and passwords are normalised before anything looks
at them, so that the same keys typed on two machines are the same text.
Source: RFC 8265 sections 3.4 and 4.2 (UsernameCaseMapped, OpaqueString), read 2026-11-22.
"""

import re
import unicodedata
from typing import Final

from gpucloud_core.kernel.errors import FieldError

USERNAME_LENGTH: Final = range(3, 65)
PASSWORD_LENGTH: Final = range(8, 129)
EMAIL_LENGTH_MAX: Final = 254

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
"""Categories of characters that nobody sees, and that would make two names look the same."""

_EMAIL: Final = re.compile(r"[^\s@<>\"]+@[^\s@<>\".]+(\.[^\s@<>\".]+)+")

_COMMON: Final = """
00000000 000000000 0123456789 0987654321 0o9i8u7y 11111111 111111111 1111111111 11223344
112233445566 12121212 123123123 12312312 1234512345 12341234 12344321 12345678 123456789
1234567890 12345678910 123456789a 123456789q 12345679 1234567a 1234567q 123456aa 123456abc
123456qwerty 1234qwer 123abc123 123qwe123 123qweasd 123qweasdzxc 1357924680 147258369 1a2b3c4d
1q2w3e4r 1q2w3e4r5t 1q2w3e4r5t6y 1qaz1qaz 1qaz2wsx 1qaz2wsx3edc 1qazxsw2 22222222 33333333
44444444 55555555 66666666 666666666 77777777 87654321 88888888 987654321 9876543210 99999999
999999999 a1234567 a12345678 a123456789 a1b2c3d4 aa123456 aa12345678 aaaaaaaa abc12345
abc123456 abcd1234 abcdefgh abcdefghi access14 admin123 admin1234 administrator alexander
asd123456 asdasdasd asdf1234 asdfasdf asdfghjk asdfghjkl asdfghjkl123 babygirl baseball
basketball bismillah butterfly caroline cccccccc changeme changeme123 charlie1 chocolate
computer computer1 corvette danielle december dragon123 elephant facebook fishing1 flower123
football football1 forever1 geheim123 giovanni gpucloud gpucloud1 gpucloud123
greatone hello123 hello1234 hellohello icecream iloveyou iloveyou1 iloveyou123 iloveyou2
internet jennifer jessica1 jonathan jordan23 killer123 letmein1 letmein123 liverpool
liverpool1 lovelove lovely123 manchester marlboro maverick mercedes michael1 michelle midnight
mustang1 nicholas ninja123 november p@ssw0rd p@ssword pa$$w0rd pa55word pass1234 passport
passw0rd passw0rd1 password password! password0 password1 password1! password12 password123
password123! password1234 password2 password99 patricia pokemon123 pokemon1 princess
princess1 q1w2e3r4 q1w2e3r4t5 q1w2e3r4t5y6 qazwsx123 qazwsxedc qqqqqqqq qwaszx12 qwe123qwe
qweasdzxc qweqweqwe qwer1234 qwerasdf qwert12345 qwerty12 qwerty123 qwerty1234 qwerty12345
qwerty123456 qwertyui qwertyuiop qwertyuiop123 qwertyqwerty rootroot samantha samsung1
samsung123 secret123 september shadow123 skywalker snoopy123 something spiderman starwars
starwars1 steelers stephanie summer123 sunflower sunshine sunshine1 superman superman1
superstar test1234 testtest thunder1 tinkerbell trustno1 tiger123 user1234 valentina
victoria welcome1 welcome123 whatever william1 winter123 x1234567 xbox360x yankees1
zaq12wsx zaq1xsw2 zaq1zaq1 zxcvbnm1 zxcvbnm123 zxczxczxc
"""
COMMON_PASSWORDS: Final = frozenset(_COMMON.split())
"""The passwords that are tried first, of the lengths we take, case-folded."""


def username_key(username: str) -> str:
    """Return the form in which usernames are compared: NFKC, case-folded, nothing around it."""
    folded = unicodedata.normalize("NFKC", username).casefold()
    # Folding can leave something to compose, and composing a space at the edge.
    return unicodedata.normalize("NFKC", folded).strip()


def prepare_password(password: str) -> str:
    """Return the text that is hashed: NFC, and every kind of space an ordinary one."""
    spaced = "".join(" " if unicodedata.category(c) == "Zs" else c for c in password)
    return unicodedata.normalize("NFC", spaced)


def check_username(username: str) -> FieldError | None:
    """Return what is wrong with a new username, if anything."""
    key = username_key(username)
    if len(key) not in USERNAME_LENGTH or len(username.strip()) not in USERNAME_LENGTH:
        return FieldError("/username", "length", "Use 3 to 64 characters.")
    if any(unicodedata.category(character) in _UNSEEN for character in username.strip() + key):
        return FieldError(
            "/username", "characters", "Leave out spaces and characters that cannot be seen."
        )
    return None


def check_password(password: str, *, username: str) -> FieldError | None:
    """Return what is wrong with a new password, if anything."""
    prepared = prepare_password(password)
    if len(prepared) not in PASSWORD_LENGTH:
        return FieldError("/password", "length", "Use 8 to 128 characters; a few words are good.")
    folded = prepared.casefold()
    if folded in COMMON_PASSWORDS or len(set(folded)) == 1:
        return FieldError(
            "/password", "common", "This password is among the first anyone tries; choose another."
        )
    if username_key(prepared) == username_key(username):
        return FieldError("/password", "same_as_username", "Choose one that is not your username.")
    return None


def check_email(email: str) -> FieldError | None:
    """Return what is wrong with a mail address, if anything; only mail itself can prove it."""
    if len(email) > EMAIL_LENGTH_MAX or not _EMAIL.fullmatch(email) or not email.isprintable():
        return FieldError("/email", "format", "Write it like name@example.com, or leave it empty.")
    return None
