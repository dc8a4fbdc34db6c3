"""What is taken as a request, and what is given as an answer, against what Stripe publishes."""

from urllib.parse import quote_plus

import pytest
import stripe.params as plain
from hypothesis import given
from hypothesis import strategies as st
from stripe.params.checkout import SessionCreateParams

from gpucloud_adapters.simulated.stripe import resources
from gpucloud_adapters.simulated.stripe.api import OPERATIONS, Operation
from gpucloud_adapters.simulated.stripe.forms import Form, Value, decode
from gpucloud_adapters.simulated.stripe.problems import StripeProblem
from gpucloud_adapters.simulated.stripe.published import checked, parameters
from gpucloud_adapters.simulated.stripe.store import Resource
from stripe_shapes import RESOURCES, declared, misfits

CHECKOUT = (
    "mode=payment&line_items[0][quantity]=1&line_items[0][price_data][currency]=usd"
    "&line_items[0][price_data][unit_amount]=2500"
    "&line_items[0][price_data][product_data][name]=Credit&metadata[payment_id]=pay_1"
)
names = st.text("abcdefgh_", min_size=1, max_size=6)
trees = st.recursive(
    st.text("xyz &=[]%é", max_size=8),
    lambda inner: st.dictionaries(names, inner, min_size=1, max_size=3),
    max_leaves=8,
)


def encoded(form: Form) -> str:
    def pairs(value: Value, key: str) -> list[str]:
        if isinstance(value, str):
            return [f"{quote_plus(key)}={quote_plus(value)}"]
        return [pair for name, inner in value.items() for pair in pairs(inner, f"{key}[{name}]")]

    return "&".join(pair for name, value in form.items() for pair in pairs(value, name))


class TestDecode:
    @given(st.dictionaries(names, trees, max_size=4))
    def test_undoes_how_the_library_writes_a_form(self, form: Form) -> None:
        assert decode(encoded(form)) == form

    @given(st.text(max_size=60))
    def test_takes_or_refuses_anything(self, body: str) -> None:
        try:
            decode(body)
        except StripeProblem:
            return

    def test_numbers_what_has_no_index(self) -> None:
        assert decode("expand[]=a&expand[]=b") == {"expand": {"0": "a", "1": "b"}}

    @pytest.mark.parametrize("body", ["a=1&a[b]=2", "a[b]=1&a=2", "a[b=1", "[a]=1"])
    def test_refuses_keys_that_contradict(self, body: str) -> None:
        with pytest.raises(StripeProblem):
            decode(body)


class TestChecked:
    def test_types_what_it_takes(self) -> None:
        params = checked(decode(CHECKOUT), SessionCreateParams)

        assert params["line_items"] == [
            {
                "quantity": 1,
                "price_data": {
                    "currency": "usd",
                    "unit_amount": 2500,
                    "product_data": {"name": "Credit"},
                },
            }
        ]
        assert params["metadata"] == {"payment_id": "pay_1"}

    @pytest.mark.parametrize(
        ("added", "param", "code"),
        [
            ("&bogus=1", "bogus", "parameter_unknown"),
            ("&line_items[0][bogus]=1", "line_items[0][bogus]", "parameter_unknown"),
            (
                "&line_items[0][price_data][product_data][title]=x",
                "line_items[0][price_data][product_data][title]",
                "parameter_unknown",
            ),
            ("&idempotency_key=x", "idempotency_key", "parameter_unknown"),
            ("&expires_at=soon", "expires_at", "parameter_invalid_integer"),
            (
                "&line_items[1][price_data][unit_amount]=1",
                "line_items[1][price_data][currency]",
                "parameter_missing",
            ),
            ("&allow_promotion_codes=yes", "allow_promotion_codes", None),
            ("&ui_mode=popup", "ui_mode", None),
            ("&line_items[a]=1", "line_items", None),
            ("&success_url[a]=1", "success_url", None),
        ],
    )
    def test_refuses_what_stripe_would_and_names_it(
        self, added: str, param: str, code: str | None
    ) -> None:
        with pytest.raises(StripeProblem) as caught:
            checked(decode(CHECKOUT + added), SessionCreateParams)

        assert (caught.value.param, caught.value.code) == (param, code)
        assert caught.value.body()["error"]["param"] == param

    @pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
    def test_knows_every_parameter_that_is_simulated(self, operation: Operation) -> None:
        known, _ = parameters(operation.parameters)

        assert set(operation.simulated.split()) <= set(known)
        assert "api_key" not in known

    def test_finds_what_a_type_requires(self) -> None:
        assert parameters(plain.CustomerSearchParams)[1] == {"query"}


ANSWERS = {
    "billing_portal.session": resources.portal_session,
    "charge": resources.charge,
    "checkout.session": resources.checkout_session,
    "customer": resources.customer,
    "event": resources.event,
    "payment_intent": resources.payment_intent,
    "refund": resources.refund,
}


class TestResources:
    @pytest.mark.parametrize("kind", sorted(RESOURCES))
    def test_have_the_fields_that_stripe_declares(self, kind: str) -> None:
        resource: Resource = {"id": "x_1", **ANSWERS[kind]()}
        if kind == "event":
            resource |= {"type": "customer.created", "data": {"object": {}}}

        assert resource["object"] == kind
        assert misfits(resource) == []

    @pytest.mark.parametrize("kind", sorted(RESOURCES))
    def test_are_found_out_when_a_field_is_wrong(self, kind: str) -> None:
        resource: Resource = {"id": "x_1", **ANSWERS[kind]()}

        assert f"{kind}.titel is not declared" in misfits({**resource, "titel": 1})
        assert f"{kind}.created is 'now', not int" in misfits({**resource, "created": "now"})
        del resource["created"]
        assert f"{kind}.created is missing" in misfits(resource)

    def test_are_compared_with_all_of_what_is_declared(self) -> None:
        assert {"amount_total", "payment_status", "url"} <= set(
            declared(RESOURCES["checkout.session"])
        )
