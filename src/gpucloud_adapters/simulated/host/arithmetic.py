"""``$((…))``: whole numbers, ``+ - * / %`` and parentheses, as a shell counts."""

import re
from collections.abc import Mapping
from typing import Final

_TOKEN: Final = re.compile(r"\s*(?:(\d{1,18})|([A-Za-z_]\w*)|([-+*/%()]))", re.ASCII)
_LENGTH_MAX: Final = 100  # also bounds how deep parentheses go
_SIGN: Final = 1 << 63


class BadExpressionError(ValueError):
    """The expression cannot be counted; the message is what the shell says."""


def count(expression: str, variables: Mapping[str, str]) -> int:
    """Return the value of ``expression``; a variable that is no number counts as zero.

    Raises:
        BadExpressionError: it is not an expression, or it divides by zero.
    """
    tokens: list[str] = []
    at, text = 0, expression.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or len(text) > _LENGTH_MAX:
            raise BadExpressionError(f"{text[:40]}: syntax error in expression")
        number, name, sign = match.groups()
        value = variables.get(name, "0") if name else ""
        tokens.append(number or sign or (value if value.isdecimal() else "0"))
        at = match.end()
    counter = _Counter(tokens, text)
    total = counter.sum() if tokens else 0
    if counter.rest:
        raise counter.wrong()
    return total


class _Counter:
    """Counts tokens from the left; what binds tighter is one method further down."""

    def __init__(self, tokens: list[str], text: str) -> None:
        self.rest = tokens[::-1]
        self._text = text

    def wrong(self, why: str = "syntax error in expression") -> BadExpressionError:
        return BadExpressionError(f"{self._text}: {why}")

    def sum(self) -> int:
        value = self._product()
        while self.rest and self.rest[-1] in "+-":
            sign = 1 if self.rest.pop() == "+" else -1
            value = _wrapped(value + sign * self._product())
        return value

    def _product(self) -> int:
        value = self._factor()
        while self.rest and self.rest[-1] in "*/%":
            operator, factor = self.rest.pop(), self._factor()
            if operator == "*":
                value = _wrapped(value * factor)
            elif factor == 0:
                raise self.wrong("division by 0")
            else:
                quotient = abs(value) // abs(factor) * (1 if value * factor >= 0 else -1)
                value = quotient if operator == "/" else value - quotient * factor
        return value

    def _factor(self) -> int:
        token = self.rest.pop() if self.rest else ""
        if token.isdecimal():
            return int(token)
        if token in {"+", "-"}:
            return self._factor() * (1 if token == "+" else -1)  # noqa: S105  a sign
        if token == "(":  # noqa: S105  a parenthesis
            value = self.sum()
            if self.rest and self.rest.pop() == ")":
                return value
        raise self.wrong()


def _wrapped(value: int) -> int:
    return (value + _SIGN) % (2 * _SIGN) - _SIGN
