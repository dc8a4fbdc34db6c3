from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_adapters.simulated.host.grammar import (
    NotHereError,
    ShellSyntaxError,
    expand,
    parse,
)

VARIABLES = {"HOME": "/home/ubuntu", "TWO": "a b", "?": "7"}


def words(line: str) -> list[list[str]]:
    return [expand(statement.words, VARIABLES) for statement in parse(line)]


class TestParse:
    @given(line=st.text(alphabet="ab $'\"\\;&|<>(){}`#~\n\t", max_size=20))
    def test_reads_any_line_or_says_why_not(self, line: str) -> None:
        with suppress(ShellSyntaxError, NotHereError):
            assert all(statement.words for statement in parse(line))

    @given(texts=st.lists(st.text(alphabet='ab $;&|<>`"\\', min_size=1), min_size=1, max_size=4))
    def test_takes_single_quotes_as_they_stand(self, texts: list[str]) -> None:
        assert words(" ".join(f"'{text}'" for text in texts)) == [texts]

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("echo a  b", [["echo", "a", "b"]]),
            ("echo 'a  b' \"c d\"", [["echo", "a  b", "c d"]]),
            ("echo $HOME/x", [["echo", "/home/ubuntu/x"]]),
            ("echo '$HOME' \"$HOME\"", [["echo", "$HOME", "/home/ubuntu"]]),
            ('echo "$TWO" $NONE.', [["echo", "a b", "."]]),
            ('echo \\$HOME "\\$HOME"', [["echo", "$HOME", "$HOME"]]),
            ("echo $? # the status", [["echo", "7"]]),
            ("a; b && c || d", [["a"], ["b"], ["c"], ["d"]]),
            ("a;", [["a"]]),
            ('echo ""', [["echo", ""]]),
            ("echo a#b $", [["echo", "a#b", "$"]]),
            ("", []),
        ],
    )
    def test_splits_as_a_shell_does(self, line: str, expected: list[list[str]]) -> None:
        assert words(line) == expected

    @pytest.mark.parametrize("line", ["echo 'a", 'echo "a', "&& a", "a && ", "; a", "a ;; b"])
    def test_names_what_is_wrong(self, line: str) -> None:
        with pytest.raises(ShellSyntaxError):
            parse(line)

    @pytest.mark.parametrize(
        ("line", "operator"),
        [("a | b", "|"), ("a > b", ">"), ("a &", "&"), ("echo $(a)", "$("), ('echo "`a`"', "`")],
    )
    def test_names_what_it_cannot_do(self, line: str, operator: str) -> None:
        with pytest.raises(NotHereError) as error:
            parse(line)

        assert str(error.value).startswith(operator)

    def test_refuses_a_line_without_end(self) -> None:
        with pytest.raises(ShellSyntaxError):
            parse("a" * 100_000)
