"""What Stripe says of a payment after it was made, in our words.

Seen to fail when the amount of a refunded charge was the charge's own.
"""

import json

import pytest

from gpucloud_adapters.stripe.readings import stored_event
from gpucloud_core.billing.ports import Aftermath, AftermathKind

CHARGE = {"id": "ch_1", "object": "charge", "amount": 2000, "amount_refunded": 500}
REFUND = {"id": "re_1", "object": "refund", "amount": 500}
DISPUTE = {"id": "dp_1", "object": "dispute", "amount": 2000, "status": "lost", "charge": "ch_1"}


def aftermath(kind: str, about: dict[str, object]) -> Aftermath | None:
    body = {
        "id": "evt_1",
        "object": "event",
        "type": kind,
        "created": 1,
        "data": {"object": {"currency": "eur", "payment_intent": "pi_1", **about}},
    }
    return stored_event(json.dumps(body)).aftermath


class TestAftermath:
    @pytest.mark.parametrize(
        ("kind", "about", "said", "cents"),
        [
            ("charge.refunded", CHARGE, AftermathKind.REFUND, 500),
            ("refund.failed", REFUND, AftermathKind.REFUND, 500),
            ("charge.refund.updated", REFUND, AftermathKind.REFUND, 500),
            ("charge.dispute.created", DISPUTE, AftermathKind.DISPUTE, 2000),
            ("charge.dispute.closed", DISPUTE, AftermathKind.DISPUTE, 2000),
        ],
    )
    def test_is_read(
        self, kind: str, about: dict[str, object], said: AftermathKind, cents: int
    ) -> None:
        found = aftermath(kind, about)

        assert found == Aftermath(
            kind=said,
            payment_id="pi_1",
            amount_micros=cents * 10_000,
            currency="EUR",
            status=str(about.get("status", "")),
        )

    def test_may_name_the_payment_whole_or_not_at_all(self) -> None:
        whole = aftermath("charge.refunded", {**CHARGE, "payment_intent": {"id": "pi_2"}})
        none = aftermath("charge.refunded", {**CHARGE, "payment_intent": None})

        assert whole is not None
        assert none is not None
        assert (whole.payment_id, none.payment_id) == ("pi_2", None)

    @pytest.mark.parametrize("kind", ["charge.succeeded", "customer.created", "refunds"])
    def test_is_nothing_else(self, kind: str) -> None:
        assert aftermath(kind, CHARGE) is None
