"""The hosted pages: pay, approve, portal, receipt. Ordinary forms; nothing here needs a script."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gpucloud_adapters.simulated.stripe import checkout, customers
from gpucloud_adapters.simulated.stripe.account import Account
from gpucloud_adapters.simulated.stripe.cards import Entry, check_entry, find_account
from gpucloud_adapters.simulated.stripe.checkout import Asks, Outcome, Refused
from gpucloud_adapters.simulated.stripe.store import Resource
from gpucloud_adapters.simulated.stripe.views import (
    ApproveView,
    ClosedView,
    PaymentRow,
    PayView,
    PortalView,
    ReceiptView,
    day,
    money,
)

_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


STYLE_SHEET: Final = (Path(__file__).parent / "templates" / "pay.css").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Page:
    """A page to show; ``leads_to`` are addresses its forms may end at."""

    html: str
    status: int = 200
    leads_to: tuple[str, ...] = ()

    @property
    def policy(self) -> str:
        """Return the content security policy: nothing but our style sheet and our own forms."""
        targets = " ".join(["'self'", *sorted({_origin(url) for url in self.leads_to})])
        return (
            "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none';"
            f" frame-ancestors 'none'; form-action {targets}"
        )


@dataclass(frozen=True, slots=True)
class Redirect:
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """What people see and do; the account does the rest."""

    account: Account

    def pay(self, session_id: str) -> Page:
        session = self._session(session_id)
        if session is None:
            return _nowhere()
        if session["status"] != "open":
            return _closed(session)
        return self._form(session)

    def submit(self, session_id: str, form: Mapping[str, str]) -> Page | Redirect:
        """Try to pay with what was typed."""
        session = self._session(session_id)
        if session is None:
            return _nowhere()
        if session["status"] == "expired":
            return _closed(session)
        attempt = self._by_bank if form.get("method") == "bank" else self._by_card
        return attempt(session, form)

    def approve(self, session_id: str) -> Page | Redirect:
        """Show the bank's question, if there is one."""
        session = self._session(session_id)
        if session is None:
            return _nowhere()
        if session["status"] != "open" or not checkout.is_asking(self.account, session):
            return Redirect(f"/pay/{session_id}")
        view = ApproveView(action=f"/pay/{session_id}/approve", amount=_amount(session))
        return _page("approve.html", view, leads_to=_leads_to(session))

    def answer(self, session_id: str, form: Mapping[str, str]) -> Page | Redirect:
        """Go on with what the bank's customer decided."""
        session = self._session(session_id)
        if session is None:
            return _nowhere()
        if session["status"] == "expired":
            return _closed(session)
        approved = form.get("decision") == "approve"
        with self.account.store.change():
            outcome = checkout.authenticate(self.account, session, approved=approved)
        return self._next(outcome, {})

    def portal(self, portal_id: str) -> Page:
        portal = self.account.store.get("billing_portal.session", portal_id)
        if portal is None:
            return _nowhere()
        customer = self.account.find("customer", portal["customer"])
        charges = customers.payments_of(self.account, customer["id"])
        view = PortalView(
            customer=customer["name"] or customer["email"] or customer["id"],
            payments=tuple(PaymentRow.of(charge) for charge in charges),
            return_url=portal["return_url"],
        )
        return _page("portal.html", view)

    def receipt(self, charge_id: str) -> Page:
        charge = self.account.store.get("charge", charge_id)
        if charge is None or not charge["paid"]:
            return _nowhere()
        row = PaymentRow.of(charge)
        back = charge["amount_refunded"]
        view = ReceiptView(
            number=charge["id"],
            amount=row.amount,
            refunded=money(back, charge["currency"]) if back else None,
            date=day(charge["created"]),
            method=row.method,
            item=charge["description"] or "Account credit",
        )
        return _page("receipt.html", view)

    def _by_card(self, session: Resource, form: Mapping[str, str]) -> Page | Redirect:
        entry = Entry(
            number=form.get("number", ""),
            expiry=form.get("expiry", ""),
            cvc=form.get("cvc", ""),
            name=form.get("name", ""),
        )
        today = datetime.fromtimestamp(self.account.now(), UTC).date()
        if faults := check_entry(entry, today):
            return self._form(session, form, faults=faults)
        with self.account.store.change():
            outcome = checkout.pay_by_card(self.account, session, entry)
        return self._next(outcome, form)

    def _by_bank(self, session: Resource, form: Mapping[str, str]) -> Page | Redirect:
        bank, name = find_account(form.get("account", "")), form.get("name", "").strip()
        faults = {}
        if bank is None:
            faults["account"] = "This is none of the test account numbers."
        if not name:
            faults["name"] = "Your name is missing."
        if bank is None or faults:
            return self._form(session, form, faults=faults)
        with self.account.store.change():
            outcome = checkout.pay_by_bank(self.account, session, bank, name)
        return self._next(outcome, form)

    def _next(self, outcome: Outcome, form: Mapping[str, str]) -> Page | Redirect:
        session = outcome.session
        match outcome:
            case Asks():
                return Redirect(f"/pay/{session['id']}/approve")
            case Refused(words=words):
                return self._form(session, form, refusal=words)
            case _:
                return Redirect(success_url(session))

    def _form(
        self,
        session: Resource,
        form: Mapping[str, str] | None = None,
        *,
        faults: Mapping[str, str] | None = None,
        refusal: str = "",
    ) -> Page:
        view = PayView(
            action=f"/pay/{session['id']}",
            amount=_amount(session),
            item=self.account.store.private(session["id"])["name"],
            cancel_url=session["cancel_url"],
            method="bank" if form and form.get("method") == "bank" else "card",
            values={name: value for name, value in (form or {}).items() if name != "cvc"},
            faults=faults or {},
            refusal=refusal,
        )
        status = 422 if view.has_problems else 200
        return _page("pay.html", view, status=status, leads_to=_leads_to(session))

    def _session(self, session_id: str) -> Resource | None:
        return self.account.store.get("checkout.session", session_id)


def success_url(session: Resource) -> str:
    """Return where whoever paid is sent, with the session's id in its place."""
    template: str = session["success_url"]
    return template.replace("{CHECKOUT_SESSION_ID}", session["id"])


def _closed(session: Resource) -> Page:
    if session["status"] == "complete":
        view = ClosedView(
            title="This payment is complete",
            words="Nothing more is to be done here.",
            link=success_url(session),
        )
    else:
        view = ClosedView(
            title="This page has expired",
            words="Nothing was paid. Start again from where you came.",
            link=session["cancel_url"],
        )
    return _page("closed.html", view)


def _nowhere() -> Page:
    view = ClosedView(title="There is nothing here", words="Check the address.", link=None)
    return _page("closed.html", view, status=404)


def _page(
    template: str, view: object, *, status: int = 200, leads_to: tuple[str, ...] = ()
) -> Page:
    return Page(_TEMPLATES.get_template(template).render(view=view), status, leads_to)


def _leads_to(session: Resource) -> tuple[str, ...]:
    """Return where a form may end: some browsers apply the policy to the redirect after it."""
    return (session["success_url"],)


def _amount(session: Resource) -> str:
    return money(session["amount_total"], session["currency"])


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
