"""The quote beside the launch wizard, and every check with the step where it is mended."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.allocations.checks import Check
from gpucloud_core.allocations.model import EndOfBalance
from gpucloud_core.allocations.quote import Quote as LaunchQuote
from gpucloud_core.kernel.errors import DomainError
from gpucloud_web import formats
from gpucloud_web.components import CheckRow, FieldFault, Quote, QuoteRow
from gpucloud_web.pages.addresses import address
from gpucloud_web.pages.launch_draft import Draft

_CHECKS: Final[Mapping[str, tuple[str, str, str, str]]] = {
    # code: title when it holds, when it fails, where to mend it, the link's words
    "sku": ("Hardware", "Not in the catalog", "hardware", "Choose hardware"),
    "gpu_count": ("Size", "Size is not sold", "capacity", "Choose a size"),
    "image": ("Image", "Image does not run here", "image", "Choose an image"),
    "ssh_key": ("SSH key", "No SSH key chosen", "access", "Choose a key"),
    "ssh_key_known": ("SSH key", "An SSH key is gone", "access", "Choose keys again"),
    "standing": ("Account", "Launches are suspended", "", ""),
    "quota": ("Quota", "Over the GPU quota", "capacity", "Choose fewer GPUs"),
    "balance": (
        "Balance covers the hold",
        "Balance does not cover the hold",
        "billing",
        "Add funds",
    ),
    "capacity": ("Capacity and topology", "Nothing free fits", "capacity", "Change the size"),
}

_FIELDS: Final[Mapping[str, tuple[str, str]]] = {
    # JSON pointer's first part: the input's name and its step
    "sku": ("sku", "hardware"),
    "gpu_count": ("gpu_count", "capacity"),
    "count": ("count", "capacity"),
    "image_id": ("image", "image"),
    "ssh_key_ids": ("keys", "access"),
    "name": ("name", "review"),
    "ttl_seconds": ("hours", "review"),
}

PLANS: Final = {
    EndOfBalance.RELEASE: (
        "Release at once",
        "When the balance reaches zero it is released and the reserve returns to you.",
    ),
    EndOfBalance.RUN_ON_RESERVE: (
        "Run on the reserve",
        "It goes on until the reserve of this launch is spent, then it is released.",
    ),
}


def field_of(pointer: str) -> tuple[str, str]:
    """Return the input and the step that a JSON pointer of the launch belongs to."""
    parts = pointer.strip("/").split("/")
    if parts[0] == "network":
        return ("ports" if len(parts) > 1 and parts[1] == "inbound" else "ssh_cidrs", "network")
    return _FIELDS.get(parts[0], ("", ""))


def quote_panel(
    draft: Draft, quote: LaunchQuote | None, *, step: str, now: datetime, zone: tzinfo
) -> Quote:
    """Return the quote; before anything is chosen it says what is missing."""
    last = step == "review"
    count = int(draft.count) if draft.count.isdigit() else 1
    several = formats.counted(count, "workload") if count > 1 else "workload"
    submit = f"Launch {several}" if last else "Review"
    go = "launch" if last else "review"
    if quote is None:
        return Quote(
            total=formats.UNKNOWN,
            per="",
            about="Mend what is named above and the price appears here."
            if draft.sku
            else "Choose hardware and the price appears here.",
            as_of=formats.clock_time(now, zone),
            rows=(),
            checks=(),
            checks_note="appear with the price",
            submit=submit,
            go=go,
        )
    rate, currency = quote.price_micros_per_hour, quote.currency
    before = quote.balance.burn_rate_micros_per_hour
    gpus = int(draft.gpu_count or 0) * count if draft.gpu_count.isdigit() else 0
    unit = formats.amount(rate // gpus, currency, places=4) if gpus else ""
    failed = sum(1 for check in quote.checks if not check.ok)
    passed = len(quote.checks) - failed
    return Quote(
        total=formats.amount(rate, currency),
        per="/h",
        about=f"{formats.daily(rate, currency)} · {formats.counted(gpus, 'GPU')} × {unit}",
        as_of=formats.clock_time(quote.as_of, zone),
        rows=(
            QuoteRow(label="Hold now", value=formats.amount(quote.hold_micros, currency)),
            QuoteRow(
                label="Burn rate after",
                before=formats.hourly(before, currency) if before else "",
                value=formats.hourly(before + rate, currency),
            ),
            QuoteRow(
                label="Runway after",
                before=_left(quote.balance.depletes_at, quote.as_of),
                value=_left(quote.depletes_at, quote.as_of) or formats.UNKNOWN,
            ),
            QuoteRow(
                label="At zero balance",
                value=PLANS[draft.request().end_of_balance][0].lower(),
            ),
        ),
        checks=tuple(
            check_row(check, draft) for check in sorted(quote.checks, key=lambda one: one.ok)
        ),
        checks_note=f"{failed} to fix, {passed} passed" if failed else f"all {passed} passed",
        submit=submit,
        go=go,
        submit_note="Billed only once active." if last else "Nothing is launched before Review.",
    )


def _left(depletes_at: datetime | None, now: datetime) -> str:
    return formats.span(now, depletes_at) if depletes_at else ""


def check_row(check: Check, draft: Draft | None = None) -> CheckRow:
    """Return a check with its remedy."""
    good, bad, where, link = _CHECKS[check.code]
    if check.ok:
        return CheckRow(state="ok", title=good, text=check.detail)
    href = "/billing#add-funds" if where == "billing" else address("/launch", step=where)
    if check.code == "capacity" and draft is not None and draft.gpu_count.isdigit():
        href = address("/infra/waitlist/join", sku=draft.sku, gpu_count=draft.gpu_count)
        link = "Launch when free"
    return CheckRow(
        state="failed", title=bad, text=check.detail, href=href, link=link if where else ""
    )


def faults_of(checks: Sequence[Check]) -> tuple[FieldFault, ...]:
    """Return every failing check as a line of the summary above the form."""
    return tuple(
        FieldFault(
            field=field_of(check.field)[0],
            text=f"{_CHECKS[check.code][1]}: {check.detail}",
            href=check_row(check).href,
        )
        for check in checks
        if not check.ok
    )


def faults_at(error: DomainError) -> tuple[FieldFault, ...]:
    """Return what is wrong with single fields, each with the step where it is mended."""
    faults = []
    for fault in error.fields:
        name, step = field_of(fault.field)
        href = address("/launch", step=step) + f"#f-{name}" if step else ""
        faults.append(FieldFault(field=name, text=fault.detail, href=href))
    whole = f"{error.detail} {error.next_step}".strip()
    return tuple(faults) or (FieldFault(field="", text=whole),)
