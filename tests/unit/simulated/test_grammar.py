from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_adapters.simulated.host.arithmetic import BadExpressionError, count
from gpucloud_adapters.simulated.host.grammar import (
    NotHereError,
    ShellSyntaxError,
    expand,
    parse,
)

VARIABLES = {"HOME": "/home/ubuntu", "TWO": "a b", "?": "7", "NUMBER": "42"}


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
            ('echo $((1 + 2 * (4 - 1))) "$((-7 / 2))" $((-7 % 2))', [["echo", "7", "-3", "-1"]]),
            ("echo a$((NUMBER))b", [["echo", "a42b"]]),
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

    @given(
        numbers=st.lists(st.integers(0, 10**17), min_size=1, max_size=5),
        signs=st.text(alphabet="+-*/%", min_size=4, max_size=4),
    )
    def test_counts_within_a_machine_word(self, numbers: list[int], signs: str) -> None:
        line = "echo $((" + "".join(map("".join, zip(map(str, numbers), signs, strict=False)))

        with suppress(BadExpressionError):
            (value,) = [int(value) for value in words(line + "1))")[0][1:]]
            assert -(2**63) <= value < 2**63

    @pytest.mark.parametrize("expression", ["1 +", "(1", "1 / 0", "* 2", "1 2", "a b", "((1)"])
    def test_refuses_what_is_no_sum(self, expression: str) -> None:
        with pytest.raises(BadExpressionError):
            count(expression, {})

    def test_refuses_a_line_without_end(self) -> None:
        with pytest.raises(ShellSyntaxError):
            parse("a" * 100_000)
