"""Stripe's form bodies: ``line_items[0][price_data][currency]=usd`` and the like, as values.

Only shapes are decided here; numbers and booleans stay text until a type says what they are.
"""

import re
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

from gpucloud_adapters.simulated.stripe.problems import StripeProblem

Value: TypeAlias = "str | dict[str, Value]"
Form: TypeAlias = dict[str, Value]

_KEY: Final = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART: Final = re.compile(r"\[([^\[\]]*)\]")
FIELDS_MAX: Final = 1000


def decode(body: str) -> Form:
    """Return the nested values of a form body or a query string.

    ``a[]=x&a[]=y`` becomes ``{"a": {"0": "x", "1": "y"}}``, as with written indexes.

    Raises:
        StripeProblem: a key that contradicts another, or is no key.
    """
    form: Form = {}
    try:
        pairs = parse_qsl(body, keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise StripeProblem("Too many parameters.") from None
    for key, value in pairs:
        match = _KEY.fullmatch(key)
        if match is None:
            raise StripeProblem(f"Invalid parameter name: {key}", param=key)
        _put(form, [match[1], *_PART.findall(match[2])], value, key)
    return form


def _put(form: Form, path: list[str], value: str, key: str) -> None:
    *outer, last = path
    for name in outer:
        inner = form.setdefault(name or str(len(form)), {})
        if isinstance(inner, str):
            raise StripeProblem(f"Invalid parameter: {key}", param=key)
        form = inner
    name = last or str(len(form))
    if isinstance(form.get(name), dict):
        raise StripeProblem(f"Invalid parameter: {key}", param=key)
    form[name] = value
