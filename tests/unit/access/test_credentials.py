"""What is taken as a username, a password and a mail address."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.access.credentials import (
    COMMON_PASSWORDS,
    PASSWORD_LENGTH,
    check_email,
    check_password,
    check_username,
    prepare_password,
    username_key,
)

texts = st.text(max_size=70)


class TestUsernameKey:
    @given(texts)
    def test_of_a_key_is_the_key(self, name: str) -> None:
        assert username_key(username_key(name)) == username_key(name)

    @given(texts)
    def test_does_not_depend_on_case_or_composition(self, name: str) -> None:
        assert username_key(unicodedata.normalize("NFD", name)) == username_key(name)
        assert username_key(name.casefold()) == username_key(name)

    @pytest.mark.parametrize(
        ("one", "other"),
        [("Ada", "ada"), ("ａｄａ", "ADA"), ("straße", "STRASSE"), (" ada ", "ada"), ("ﬁn", "FIN")],
    )
    def test_is_the_same_for_names_that_read_the_same(self, one: str, other: str) -> None:
        assert username_key(one) == username_key(other)


class TestCheckUsername:
    @pytest.mark.parametrize(
        "name", ["ada", "ada.lovelace-1", "Ærøskøbing", "阿达的机器", "a" * 64]
    )
    def test_takes_names_in_any_script(self, name: str) -> None:
        assert check_username(name) is None

    @pytest.mark.parametrize("name", ["", "ab", "  ab  ", "a" * 65, "ﷺ" * 4])
    def test_asks_for_3_to_64_characters(self, name: str) -> None:
        fault = check_username(name)

        assert fault is not None
        assert (fault.field, fault.code) == ("/username", "length")

    @pytest.mark.parametrize("name", ["a da", "ada\u200b1", "ad\x00a", "ada\u202e", "ad\na"])
    def test_refuses_what_cannot_be_seen(self, name: str) -> None:
        fault = check_username(name)

        assert fault is not None
        assert fault.code == "characters"


class TestCheckPassword:
    @pytest.mark.parametrize(
        "password", ["correct horse battery", "x1!y2?z3", "密码是一个长句子", "a b c d e f"]
    )
    def test_asks_for_length_and_for_nothing_else(self, password: str) -> None:
        assert check_password(password, username="ada") is None

    @given(st.text(alphabet="ab", min_size=0, max_size=140))
    def test_refuses_exactly_the_wrong_lengths(self, password: str) -> None:
        fault = check_password(password, username="ada")

        is_length = fault is not None and fault.code == "length"
        assert is_length == (len(password) not in PASSWORD_LENGTH)

    @pytest.mark.parametrize("password", ["password123", "PassWord123", "12345678", "aaaaaaaaaaaa"])
    def test_refuses_what_is_tried_first(self, password: str) -> None:
        fault = check_password(password, username="ada")

        assert fault is not None
        assert fault.code == "common"

    def test_refuses_the_username(self) -> None:
        fault = check_password("Ada.Lovelace", username="ada.lovelace")

        assert fault is not None
        assert fault.code == "same_as_username"

    def test_knows_only_common_passwords_that_would_otherwise_be_taken(self) -> None:
        assert all(len(password) in PASSWORD_LENGTH for password in COMMON_PASSWORDS)
        assert all(password == password.casefold() for password in COMMON_PASSWORDS)


class TestPreparePassword:
    @given(st.text(max_size=30))
    def test_gives_one_text_for_both_ways_to_compose_it(self, password: str) -> None:
        decomposed = unicodedata.normalize("NFD", password)

        assert prepare_password(decomposed) == prepare_password(password)

    @given(st.text(max_size=200))
    def test_never_truncates(self, password: str) -> None:
        assert prepare_password(password + "x") == prepare_password(password) + "x"

    def test_keeps_case_and_outer_spaces(self) -> None:
        assert prepare_password(" Ada\u00a0Lovelace ") == " Ada Lovelace "


class TestCheckEmail:
    @pytest.mark.parametrize("email", ["ada@example.com", "a.b+c@mail.example.org"])
    def test_takes_an_ordinary_address(self, email: str) -> None:
        assert check_email(email) is None

    @pytest.mark.parametrize(
        "email", ["ada", "ada@", "@example.com", "a@b", "a b@c.d", "a@b.c\nBcc: x@y.z", "a@b@c.d"]
    )
    def test_refuses_what_is_none(self, email: str) -> None:
        assert check_email(email) is not None
