"""The test cards that Stripe documents, what becomes of each, and in which words.

Source: https://docs.stripe.com/testing and https://docs.stripe.com/error-codes, read 2026-11-22.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final


class Fate(StrEnum):
    """What happens to a payment with a card."""

    SUCCEEDS = "succeeds"
    DECLINED = "declined"
    ASKS_FIRST = "asks_first"  # the bank wants its customer to approve, then it succeeds
    ASKS_THEN_DECLINES = "asks_then_declines"


@dataclass(frozen=True, slots=True)
class Decline:
    """Why a card was refused: Stripe's codes, and the words shown to whoever pays."""

    code: str
    words: str
    decline_code: str = ""


GENERIC: Final = Decline("card_declined", "Your card was declined.", "generic_decline")
NOT_AUTHENTICATED: Final = Decline(
    "payment_intent_authentication_failure",
    "We are unable to authenticate your payment method."
    " Please choose a different payment method and try again.",
)
LIVE_CARD: Final = Decline(
    "card_declined",
    "Your card was declined. Your request was in test mode, but used a non test card.",
    "live_mode_test_card",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A documented number, and what it is there to show."""

    number: str
    brand: str
    shows: str
    fate: Fate = Fate.SUCCEEDS
    decline: Decline | None = None


CARDS: Final = (
    Card(number="4242424242424242", brand="visa", shows="Succeeds"),
    Card(number="5555555555554444", brand="mastercard", shows="Succeeds"),
    Card(number="378282246310005", brand="amex", shows="Succeeds"),
    Card(
        number="4000002500003155",
        brand="visa",
        shows="Asks for approval (3-D Secure)",
        fate=Fate.ASKS_FIRST,
    ),
    Card(
        number="4000000000003220",
        brand="visa",
        shows="Asks for approval (3-D Secure 2)",
        fate=Fate.ASKS_FIRST,
    ),
    Card(
        number="4000008400001629",
        brand="visa",
        shows="Asks for approval, then declines",
        fate=Fate.ASKS_THEN_DECLINES,
        decline=GENERIC,
    ),
    Card(
        number="4000000000000002",
        brand="visa",
        shows="Declined",
        fate=Fate.DECLINED,
        decline=GENERIC,
    ),
    Card(
        number="4000000000009995",
        brand="visa",
        shows="Declined: insufficient funds",
        fate=Fate.DECLINED,
        decline=Decline("card_declined", "Your card has insufficient funds.", "insufficient_funds"),
    ),
    Card(
        number="4000000000000069",
        brand="visa",
        shows="Declined: expired",
        fate=Fate.DECLINED,
        decline=Decline("expired_card", "Your card has expired."),
    ),
    Card(
        number="4000000000000127",
        brand="visa",
        shows="Declined: wrong security code",
        fate=Fate.DECLINED,
        decline=Decline("incorrect_cvc", "Your card's security code is incorrect."),
    ),
    Card(
        number="4000000000000119",
        brand="visa",
        shows="Declined: processing error",
        fate=Fate.DECLINED,
        decline=Decline(
            "processing_error",
            "An error occurred while processing your card. Try again in a little bit.",
        ),
    ),
)
_BY_NUMBER: Final[Mapping[str, Card]] = {card.number: card for card in CARDS}


@dataclass(frozen=True, slots=True)
class BankAccount:
    """A documented account number for a bank debit, which settles later."""

    number: str
    shows: str
    failure: Decline | None = None


BANK_ACCOUNTS: Final = (
    BankAccount("000123456789", "Succeeds after a moment"),
    BankAccount(
        "000111111113",
        "Fails after a moment: account closed",
        Decline("account_closed", "The customer's bank account has been closed."),
    ),
    BankAccount(
        "000222222227",
        "Fails after a moment: insufficient funds",
        Decline(
            "debit_not_authorized",
            "The customer's account has insufficient funds.",
            "insufficient_funds",
        ),
    ),
)
_ACCOUNT_BY_NUMBER: Final = {account.number: account for account in BANK_ACCOUNTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What somebody typed into the pay page's form."""

    number: str = ""
    expiry: str = ""
    cvc: str = ""
    name: str = ""

    @property
    def digits(self) -> str:
        return re.sub(r"[\s-]", "", self.number)


def find_card(digits: str) -> Card:
    """Return the documented card, or one that declines because it is none of them."""
    unknown = Card(number=digits, brand="unknown", shows="", fate=Fate.DECLINED, decline=LIVE_CARD)
    return _BY_NUMBER.get(digits, unknown)


def find_account(number: str) -> BankAccount | None:
    return _ACCOUNT_BY_NUMBER.get(re.sub(r"[\s-]", "", number))


def check_entry(entry: Entry, today: date) -> dict[str, str]:
    """Return what is wrong with each field, in Stripe's words; nothing if all is well."""
    faults: dict[str, str] = {}
    if not entry.digits:
        faults["number"] = "Your card number is incomplete."
    elif not _is_card_number(entry.digits):
        faults["number"] = "Your card number is invalid."
    expiry = re.fullmatch(r"\s*(\d{1,2})\s*[/-]?\s*(?:20)?(\d{2})\s*", entry.expiry)
    if expiry is None or not 1 <= int(expiry[1]) <= 12:  # noqa: PLR2004  months of a year
        faults["expiry"] = "Your card's expiration date is incomplete."
    elif (2000 + int(expiry[2]), int(expiry[1])) < (today.year, today.month):
        faults["expiry"] = "Your card's expiration date is in the past."
    if not re.fullmatch(r"\d{3,4}", entry.cvc.strip(), re.ASCII):
        faults["cvc"] = "Your card's security code is incomplete."
    if not entry.name.strip():
        faults["name"] = "Your name is missing."
    return faults


def expiry_of(entry: Entry) -> tuple[int, int]:
    """Return month and year of an entry that was checked."""
    digits = re.sub(r"\D", "", entry.expiry)
    return int(digits[: 1 if len(digits) in {3, 5} else 2]), 2000 + int(digits[-2:])


def _is_card_number(digits: str) -> bool:
    """Tell whether the check digit is right. Source: ISO/IEC 7812-1, Luhn formula."""
    if not re.fullmatch(r"\d{13,19}", digits, re.ASCII):
        return False
    doubled = (int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(digits[::-1]))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0  # noqa: PLR2004
