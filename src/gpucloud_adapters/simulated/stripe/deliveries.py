"""Runs errands when they are due: events to deliver, debits to settle, sessions to expire.

An event is signed anew at each try and tried until the endpoint answers 2xx, ever more slowly.
Errands are rows, so those that a restart interrupts are run again: at least once, in no promised
order, as with Stripe.
Source: https://docs.stripe.com/webhooks (signatures, retries, ordering), read 2026-11-22.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httpx
import structlog

from gpucloud_adapters.simulated.stripe import checkout
from gpucloud_adapters.simulated.stripe.account import DELIVER, Account
from gpucloud_adapters.simulated.stripe.faults import Faults
from gpucloud_adapters.simulated.stripe.store import Errand

_FIRST_RETRY_SECONDS: Final = 0.5
_LONGEST_RETRY_SECONDS: Final = 300.0
_AT_ONCE: Final = 8
_IDLE_SECONDS: Final = 60.0

log = structlog.get_logger()


def sign(body: bytes, secret: str, now: float) -> str:
    """Return the ``Stripe-Signature`` header of a body."""
    timestamp = str(int(now))
    signed = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"t={timestamp},v1={signed.hexdigest()}"


def retry_after(attempt: int) -> float:
    """Return the seconds to wait after this many tries."""
    doublings = min(attempt, 20)  # by then the longest pause is long reached
    return min(_FIRST_RETRY_SECONDS * 2.0**doublings, _LONGEST_RETRY_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Errands:
    """Runs what is due, until cancelled."""

    account: Account
    webhook_url: str
    webhook_secret: str
    client: httpx.AsyncClient
    woken: asyncio.Event
    faults: Faults

    async def run(self) -> None:
        while True:
            self.woken.clear()
            due = self.account.store.due_errands(self.account.now(), limit=_AT_ONCE)
            if due:
                await asyncio.gather(*(self._run(errand) for errand in due))
                continue
            next_due = self.account.store.next_due()
            pause = _IDLE_SECONDS if next_due is None else next_due - self.account.now()
            try:
                async with asyncio.timeout(min(max(pause, 0.0), _IDLE_SECONDS)):
                    await self.woken.wait()
            except TimeoutError:
                pass

    async def _run(self, errand: Errand) -> None:
        if errand.kind == DELIVER:
            await self._deliver(errand)
            return
        with self.account.store.change():
            _ALONE[errand.kind](self.account, errand.subject)
            self.account.store.finish_errand(errand.number, self.account.now())

    async def _deliver(self, errand: Errand) -> None:
        event = self.account.find("event", errand.subject)
        body = json.dumps(event, indent=2).encode()
        headers = {
            "content-type": "application/json; charset=utf-8",
            "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks; simulated)",
            "stripe-signature": sign(body, self.webhook_secret, self.account.now()),
        }
        problem = await self._post(body, headers)
        now, store = self.account.now(), self.account.store
        with store.change():
            if problem is not None:
                store.postpone_errand(errand.number, now + retry_after(errand.attempt))
                log.info(
                    "simulated_stripe.not_delivered",
                    event_id=event["id"],
                    kind=event["type"],
                    attempt=errand.attempt + 1,
                    problem=problem,
                )
                return
            store.finish_errand(errand.number, now)
            store.put({**event, "pending_webhooks": 0})
            if self.faults.delivers_again():
                store.add_errand(DELIVER, event["id"], now)

    async def _post(self, body: bytes, headers: Mapping[str, str]) -> str | None:
        """Return None if the endpoint took it, else what was wrong."""
        try:
            response = await self.client.post(self.webhook_url, content=body, headers=headers)
        except httpx.HTTPError as error:
            return type(error).__name__
        return None if response.is_success else f"status {response.status_code}"


_ALONE: Final[Mapping[str, Callable[[Account, str], None]]] = {
    checkout.SETTLE: checkout.settle,
    checkout.EXPIRE: checkout.expire_if_open,
}
