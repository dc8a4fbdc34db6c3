"""A payment provider in memory: pay pages that a test pays, and events signed like a real one's.

Bodies are JSON of our own making; signatures are HMAC-SHA256 over a timestamp and the body, and
old ones are refused, as with a provider on the other side of a network.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gpucloud_core.billing.ports import (
    Aftermath,
    AftermathKind,
    Checkout,
    CheckoutRequest,
    ProcessorRefused,
    ProviderEvent,
    SignatureInvalid,
)
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.time import Clock

TOLERANCE: Final = timedelta(minutes=5)
_SIGNATURE: Final = re.compile(r"t=(\d{1,12}),v1=([0-9a-f]{64})", re.ASCII)
_CLOSED: Final = frozenset({"complete", "expired"})


@dataclass(frozen=True, slots=True)
class SignedEvent:
    """What the provider would send: a body and the header that proves it."""

    body: bytes
    signature: str


class MemoryPayments:
    """Satisfies ``PaymentProcessor``; ``pay``, ``close`` and ``event`` are the other side of it."""

    def __init__(
        self, clock: Clock, *, secret: str, page_origin: str = "https://pay.invalid"
    ) -> None:
        self._clock = clock
        self._secret = secret.encode()
        self._page_origin = page_origin
        self._requests: dict[str, CheckoutRequest] = {}
        self._checkouts: dict[str, Checkout] = {}
        self._events = 0

    @property
    def checkouts(self) -> tuple[Checkout, ...]:
        """Every pay page there is, as the provider has it."""
        return tuple(self._checkouts.values())

    async def open_checkout(self, request: CheckoutRequest) -> Checkout:
        known = self._requests.setdefault(request.key, request)
        if known != request:
            raise ProcessorRefused("This key was used for another request.")
        provider_id = f"cs_{request.key}"
        if provider_id not in self._checkouts:
            self._checkouts[provider_id] = Checkout(
                provider_id=provider_id,
                url=f"{self._page_origin}/{provider_id}",
                status="open",
                paid=False,
                amount_micros=request.amount_micros,
                tax_micros=0,
                currency=request.currency,
                payment_id=None,
                reference=request.key,
            )
        return self._checkouts[provider_id]

    async def read_checkout(self, provider_id: str) -> Checkout:
        return self._found(provider_id)

    async def open_portal(self, *, key: str, tenant_id: TenantId, return_url: str) -> str:
        return f"{self._page_origin}/portal/{tenant_id}/{key}?return={return_url}"

    def verify_event(self, body: bytes, signature: str) -> ProviderEvent:
        match = _SIGNATURE.fullmatch(signature)
        if match is None:
            raise SignatureInvalid("The signature header is not one.")
        seconds, given = int(match[1]), match[2]
        if not hmac.compare_digest(given, self._hmac(seconds, body)):
            raise SignatureInvalid("The signature does not fit the body.")
        if abs(self._clock.now().timestamp() - seconds) > TOLERANCE.total_seconds():
            raise SignatureInvalid("The event is older than five minutes.")
        return self.parse_event(body.decode())

    def parse_event(self, body: str) -> ProviderEvent:
        raw = json.loads(body)
        checkout: dict[str, Any] | None = raw.get("checkout")
        return ProviderEvent(
            id=raw["id"],
            kind=raw["kind"],
            object_id=raw["object_id"],
            created_at=datetime.fromtimestamp(raw["created"], UTC),
            checkout=None if checkout is None else Checkout(**checkout),
            aftermath=_aftermath(raw.get("aftermath")),
        )

    def pay(self, provider_id: str, *, tax_micros: int = 0) -> Checkout:
        """Pay the page as a customer would; a page that was paid stays paid."""
        return self._changed(
            provider_id,
            status="complete",
            paid=True,
            tax_micros=tax_micros,
            payment_id=f"pi_{provider_id}",
        )

    def complete_unpaid(self, provider_id: str) -> Checkout:
        """Finish the page with a way of paying that takes days."""
        return self._changed(provider_id, status="complete")

    def close(self, provider_id: str) -> Checkout:
        """Let the page expire."""
        return self._changed(provider_id, status="expired")

    def event(
        self,
        kind: str,
        provider_id: str,
        *,
        event_id: str | None = None,
        signed_at: datetime | None = None,
    ) -> SignedEvent:
        """Return a signed event about a page as it is now."""
        about = {"checkout": asdict(self._found(provider_id))}
        return self._sent(kind, provider_id, about, event_id=event_id, signed_at=signed_at)

    def aftermath(self, kind: str, object_id: str, said: Aftermath) -> SignedEvent:
        """Return a signed event about a refund or a dispute."""
        return self._sent(kind, object_id, {"aftermath": asdict(said)})

    def _sent(
        self,
        kind: str,
        object_id: str,
        about: Mapping[str, object],
        *,
        event_id: str | None = None,
        signed_at: datetime | None = None,
    ) -> SignedEvent:
        self._events += 1
        seconds = int((signed_at or self._clock.now()).timestamp())
        body = json.dumps(
            {
                "id": event_id or f"evt_{self._events}",
                "kind": kind,
                "object_id": object_id,
                "created": seconds,
                **about,
            }
        ).encode()
        return SignedEvent(body, self.sign(body, signed_at=signed_at))

    def sign(self, body: bytes, *, signed_at: datetime | None = None) -> str:
        """Return the signature header for ``body``."""
        seconds = int((signed_at or self._clock.now()).timestamp())
        return f"t={seconds},v1={self._hmac(seconds, body)}"

    def _found(self, provider_id: str) -> Checkout:
        checkout = self._checkouts.get(provider_id)
        if checkout is None:
            raise ProcessorRefused("There is no such pay page.")
        return checkout

    def _changed(self, provider_id: str, **changes: Any) -> Checkout:
        checkout = self._found(provider_id)
        if not checkout.paid:
            checkout = replace(checkout, **changes)
            if checkout.status in _CLOSED:
                checkout = replace(checkout, url=None)
            self._checkouts[provider_id] = checkout
        return checkout

    def _hmac(self, seconds: int, body: bytes) -> str:
        signed = str(seconds).encode() + b"." + body
        return hmac.new(self._secret, signed, hashlib.sha256).hexdigest()


def _aftermath(raw: dict[str, Any] | None) -> Aftermath | None:
    return None if raw is None else Aftermath(**{**raw, "kind": AftermathKind(raw["kind"])})
