"""The simulated Stripe as its customers meet it: the API, the pay page and the webhooks."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import stripe
from stripe.params.checkout import SessionCreateParams

from embedded_servers import free_port
from gpucloud_adapters.simulated.stripe.cards import CARDS, Card, Fate
from gpucloud_adapters.simulated.stripe.faults import Faults
from simulated_stripe import (
    KEY,
    SECRET,
    Receiver,
    SimulatedStripe,
    receiving,
    simulated_stripe,
    talking_to,
)
from stripe_shapes import misfits

PAID = "checkout.session.completed"
RETURN = "https://cloud.example/return?session={CHECKOUT_SESSION_ID}"


def checkout(**changed: Any) -> SessionCreateParams:
    params: dict[str, Any] = {
        "mode": "payment",
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": "usd",
                    "unit_amount": 2500,
                    "product_data": {"name": "Credit for <b>Ada</b>"},
                },
            }
        ],
        "success_url": RETURN,
        "cancel_url": "https://cloud.example/billing",
        **changed,
    }
    return params  # type: ignore[return-value]  # wrong ones are sent on purpose


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def server(tmp_path: Path, receiver: Receiver) -> AsyncIterator[SimulatedStripe]:
    async with simulated_stripe(tmp_path, webhook_url=receiver.url) as server:
        yield server


@pytest.fixture
def client(server: SimulatedStripe) -> stripe.StripeClient:
    return server.client()


async def opened(client: stripe.StripeClient) -> str:
    return (await client.v1.checkout.sessions.create_async(checkout())).id


class TestTheApi:
    @pytest.mark.parametrize(
        ("changed", "param"),
        [
            ({"bogus": 1}, "bogus"),
            ({"mode": "subscription"}, "mode"),
            ({"allow_promotion_codes": True}, "allow_promotion_codes"),
            ({"success_url": "javascript:alert(1)"}, "success_url"),
            ({"success_url": "/relative"}, "success_url"),
            ({"line_items": []}, "line_items"),
            ({"customer": "cus_none"}, "customer"),
            ({"expires_at": 5}, "expires_at"),
            ({"metadata": {"k" * 41: "v"}}, f"metadata[{'k' * 41}]"),
            ({"expand": ["nonsense"]}, "expand"),
        ],
    )
    async def test_refuses_a_wrong_parameter_and_names_it(
        self, client: stripe.StripeClient, changed: dict[str, Any], param: str
    ) -> None:
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await client.v1.checkout.sessions.create_async(checkout(**changed))

        assert caught.value.param == param

    async def test_refuses_a_key_that_is_not_its_own(self, server: SimulatedStripe) -> None:
        with pytest.raises(stripe.AuthenticationError):
            await server.client(key="sk_test_other").v1.customers.list_async()
        assert (await server.http.get("/v1/customers")).status_code == 401

    async def test_says_what_it_has_not(self, client: stripe.StripeClient) -> None:
        with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL"):
            await client.v1.subscriptions.list_async()

    async def test_replays_the_first_answer_under_the_same_key(
        self, server: SimulatedStripe
    ) -> None:
        headers = {"authorization": f"Bearer {KEY}", "idempotency-key": "once"}
        form = {"email": "ada@example.com"}

        first = await server.http.post("/v1/customers", data=form, headers=headers)
        again = await server.http.post("/v1/customers", data=form, headers=headers)
        other = await server.http.post("/v1/customers", data={"name": "x"}, headers=headers)

        assert again.json() == first.json()
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["original-request"] == first.headers["request-id"]
        assert other.status_code == 400
        assert other.json()["error"]["type"] == "idempotency_error"
        assert len((await server.ask("customers"))["data"]) == 1

    async def test_does_not_remember_a_request_that_was_malformed(
        self, server: SimulatedStripe
    ) -> None:
        headers = {"authorization": f"Bearer {KEY}", "idempotency-key": "twice"}

        wrong = await server.http.post("/v1/customers", data={"emial": "x"}, headers=headers)
        right = await server.http.post("/v1/customers", data={"email": "x"}, headers=headers)

        assert (wrong.status_code, right.status_code) == (400, 200)

    async def test_pages_through_lists_both_ways(self, client: stripe.StripeClient) -> None:
        made = [(await client.v1.customers.create_async({"name": str(n)})).id for n in range(5)]
        newest_first = made[::-1]

        first = await client.v1.customers.list_async({"limit": 2})
        second = await client.v1.customers.list_async(
            {"limit": 2, "starting_after": first.data[-1].id}
        )
        back = await client.v1.customers.list_async(
            {"limit": 2, "ending_before": second.data[0].id}
        )

        assert [one.id for one in first.data] == newest_first[:2]
        assert [one.id for one in second.data] == newest_first[2:4]
        assert [one.id for one in back.data] == newest_first[:2]
        assert (first.has_more, back.has_more) == (True, False)
        everyone = [one.id async for one in first.auto_paging_iter()]
        assert everyone == newest_first

    async def test_expands_what_it_is_asked_to(
        self, client: stripe.StripeClient, server: SimulatedStripe
    ) -> None:
        session_id = await opened(client)
        await server.pay(session_id)

        session = await client.v1.checkout.sessions.retrieve_async(
            session_id, {"expand": ["payment_intent"]}
        )

        assert isinstance(session.payment_intent, stripe.PaymentIntent)
        assert session.payment_intent.status == "succeeded"

    async def test_gives_money_back_but_never_more_than_came(
        self, client: stripe.StripeClient, server: SimulatedStripe, receiver: Receiver
    ) -> None:
        session_id = await opened(client)
        await server.pay(session_id)
        intent = str((await server.ask(f"checkout/sessions/{session_id}"))["payment_intent"])

        await client.v1.refunds.create_async({"payment_intent": intent, "amount": 1000})
        with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
            await client.v1.refunds.create_async({"payment_intent": intent, "amount": 1501})
        await client.v1.refunds.create_async({"payment_intent": intent})
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await client.v1.refunds.create_async({"payment_intent": intent})

        assert caught.value.code == "charge_already_refunded"
        await receiver.until(lambda r: r.kinds().count("charge.refunded") == 2)

    async def test_expires_only_what_is_open(
        self, client: stripe.StripeClient, server: SimulatedStripe
    ) -> None:
        session_id = await opened(client)
        await server.pay(session_id)

        with pytest.raises(stripe.InvalidRequestError, match="status of `complete`"):
            await client.v1.checkout.sessions.expire_async(session_id)

    async def test_answers_with_nothing_but_what_stripe_declares(
        self, client: stripe.StripeClient, server: SimulatedStripe, receiver: Receiver
    ) -> None:
        customer = await client.v1.customers.create_async({"email": "ada@example.com"})
        await client.v1.billing_portal.sessions.create_async({"customer": customer.id})
        for number in ("4000000000009995", "4000002500003155", "4242424242424242"):
            session_id = await opened(client)
            await server.pay(session_id, number)
        await server.submit(await opened(client), method="bank", account="000123456789")
        await server.submit(await opened(client), method="bank", account="000111111113")
        await server.close(await opened(client))
        paid = await server.ask(f"checkout/sessions/{session_id}")
        await client.v1.refunds.create_async({"payment_intent": paid["payment_intent"]})
        failed = "checkout.session.async_payment_failed"
        await receiver.until(lambda r: failed in r.kinds() and "charge.refunded" in r.kinds())

        events = (await server.ask("events", limit="100"))["data"]

        kinds = {event["data"]["object"]["object"] for event in events}
        assert kinds == {"charge", "checkout.session", "customer", "payment_intent", "refund"}
        for event in events:
            assert misfits(event) == []
            assert misfits(event["data"]["object"]) == [], event["type"]


class TestThePayPage:
    async def test_takes_a_good_card_and_leads_back(
        self, client: stripe.StripeClient, server: SimulatedStripe
    ) -> None:
        session_id = await opened(client)

        answer = await server.pay(session_id, "4242 4242 4242 4242")

        assert answer.status_code == 303
        assert answer.headers["location"] == RETURN.replace("{CHECKOUT_SESSION_ID}", session_id)
        session = await client.v1.checkout.sessions.retrieve_async(session_id)
        assert (session.status, session.payment_status, session.url) == ("complete", "paid", None)

    @pytest.mark.parametrize(
        "card", [card for card in CARDS if card.fate is Fate.DECLINED], ids=lambda card: card.shows
    )
    async def test_shows_stripes_words_for_a_decline_and_lets_one_try_again(
        self, client: stripe.StripeClient, server: SimulatedStripe, card: Card
    ) -> None:
        assert card.decline is not None
        session_id = await opened(client)

        refused = await server.pay(session_id, card.number)

        assert refused.status_code == 422
        assert card.decline.words.replace("'", "&#39;") in refused.text
        assert f'value="{card.number}"' in refused.text
        assert "123" not in refused.text.split('name="cvc"')[1].split(">")[0].split("value=")[1][:5]
        session = await server.ask(f"checkout/sessions/{session_id}")
        intent = await server.ask(f"payment_intents/{session['payment_intent']}")
        assert (session["status"], session["payment_status"]) == ("open", "unpaid")
        assert intent["last_payment_error"]["code"] == card.decline.code
        assert (await server.pay(session_id)).status_code == 303
        assert (
            len((await server.ask("checkout/sessions", payment_intent=intent["id"]))["data"]) == 1
        )

    @pytest.mark.parametrize(
        ("number", "decision", "status"),
        [
            ("4000002500003155", "approve", 303),
            ("4000000000003220", "approve", 303),
            ("4000000000003220", "refuse", 422),
            ("4000008400001629", "approve", 422),
        ],
    )
    async def test_asks_the_bank_first_where_it_must(
        self,
        client: stripe.StripeClient,
        server: SimulatedStripe,
        number: str,
        decision: str,
        status: int,
    ) -> None:
        session_id = await opened(client)

        asked = await server.pay(session_id, number)
        assert asked.headers["location"] == f"/pay/{session_id}/approve"
        question = await server.http.get(asked.headers["location"])
        assert "Approve payment" in question.text
        assert not (await server.processor().read_checkout(session_id)).paid
        answer = await server.http.post(f"/pay/{session_id}/approve", data={"decision": decision})

        assert answer.status_code == status
        assert (await server.processor().read_checkout(session_id)).paid == (status == 303)

    async def test_names_every_field_that_is_wrong_and_keeps_what_was_typed(
        self, client: stripe.StripeClient, server: SimulatedStripe
    ) -> None:
        session_id = await opened(client)

        answer = await server.submit(session_id, number="4242", expiry="01/20", name='"><script>')

        assert answer.status_code == 422
        assert "Your card number is invalid." in answer.text
        assert "expiration date is in the past" in answer.text
        assert 'value="4242"' in answer.text
        assert "<script>" not in answer.text

    async def test_lets_a_debit_settle_later(
        self, client: stripe.StripeClient, server: SimulatedStripe, receiver: Receiver
    ) -> None:
        session_id = await opened(client)

        answer = await server.submit(session_id, method="bank", account="000123456789")

        assert answer.status_code == 303
        settled = "checkout.session.async_payment_succeeded"
        await receiver.until(lambda r: settled in r.kinds())
        by_kind = {event["type"]: event["data"]["object"] for event in receiver.taken}
        assert by_kind[PAID]["payment_status"] == "unpaid"
        assert by_kind[settled]["payment_status"] == "paid"

    async def test_lets_a_debit_fail_later(
        self, client: stripe.StripeClient, server: SimulatedStripe, receiver: Receiver
    ) -> None:
        session_id = await opened(client)

        await server.submit(session_id, method="bank", account="000222222227")

        await receiver.until(lambda r: "checkout.session.async_payment_failed" in r.kinds())
        assert (await server.ask(f"checkout/sessions/{session_id}"))["payment_status"] == "unpaid"

    async def test_says_that_it_is_simulated_and_loads_nothing_from_elsewhere(
        self, client: stripe.StripeClient, server: SimulatedStripe
    ) -> None:
        page = await server.http.get(f"/pay/{await opened(client)}")

        assert "Simulated payment" in page.text
        assert "Credit for &lt;b&gt;Ada" in page.text
        assert 'href="https://cloud.example/billing"' in page.text
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "form-action 'self' https://cloud.example" in policy
        assert (await server.http.get("/pay.css")).headers["content-type"].startswith("text/css")

    async def test_takes_no_second_payment(
        self, client: stripe.StripeClient, server: SimulatedStripe, receiver: Receiver
    ) -> None:
        session_id = await opened(client)

        await asyncio.gather(*(server.pay(session_id) for _ in range(5)))

        assert "This payment is complete" in (await server.http.get(f"/pay/{session_id}")).text
        await receiver.until(lambda r: PAID in r.kinds())
        events = (await server.ask("events", limit="100"))["data"]
        assert [event["type"] for event in events].count("charge.succeeded") == 1

    async def test_is_over_once_it_expired(
        self, client: stripe.StripeClient, server: SimulatedStripe
    ) -> None:
        session_id = await opened(client)
        await server.close(session_id)

        assert "This page has expired" in (await server.http.get(f"/pay/{session_id}")).text
        assert "This page has expired" in (await server.pay(session_id)).text
        assert (await server.http.get("/pay/cs_test_none")).status_code == 404


class TestWebhooks:
    async def test_are_signed_so_that_stripes_library_believes_them(
        self, client: stripe.StripeClient, server: SimulatedStripe, receiver: Receiver
    ) -> None:
        await server.pay(await opened(client))
        await receiver.until(lambda r: PAID in r.kinds())

        for body, signature in receiver.signatures:
            assert stripe.Webhook.construct_event(body, signature, SECRET)
            with pytest.raises(stripe.SignatureVerificationError):
                stripe.Webhook.construct_event(body, signature, "whsec_other")

    async def test_are_repeated_until_they_are_taken(
        self, client: stripe.StripeClient, server: SimulatedStripe, receiver: Receiver
    ) -> None:
        receiver.statuses = [500, 302, 404]

        await server.close(await opened(client))

        await receiver.until(lambda r: r.kinds() == ["checkout.session.expired"])
        assert receiver.tries == 4

    async def test_come_twice_and_out_of_order_when_asked_to(
        self, tmp_path: Path, receiver: Receiver
    ) -> None:
        faults = Faults(duplicate=0.5, reorder=0.5, seed=3)
        async with simulated_stripe(tmp_path, webhook_url=receiver.url, faults=faults) as server:
            await server.pay(await opened(server.client()))
            made = [event["id"] for event in (await server.ask("events"))["data"]][::-1]
            await receiver.until(lambda r: {event["id"] for event in r.taken} == set(made))

            taken = [event["id"] for event in receiver.taken]

        assert taken != made

    async def test_survive_that_the_server_is_killed(self, tmp_path: Path) -> None:
        port, endpoint = free_port(), free_port()
        options = (
            f"--port={port}",
            f"--home={tmp_path}",
            f"--webhook-url=http://127.0.0.1:{endpoint}/webhook",
            f"--webhook-secret={SECRET}",
            f"--api-key={KEY}",
            "--settle-seconds=1",
        )
        program = (sys.executable, "-m", "gpucloud_adapters.simulated.stripe_server", *options)
        first = await asyncio.create_subprocess_exec(*program)
        async with talking_to(port) as server:
            session_id = await opened(server.client())
            await server.submit(session_id, method="bank", account="000123456789")
            first.kill()
            await first.wait()
        async with receiving(endpoint) as receiver:
            second = await asyncio.create_subprocess_exec(*program)
            settled = "checkout.session.async_payment_succeeded"
            await receiver.until(lambda r: {PAID, settled} <= set(r.kinds()))
            second.terminate()
            assert await second.wait() == 0
