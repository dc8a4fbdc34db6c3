"""Billing & Usage: the balance, adding funds through the provider's page, and coming back."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.response import Redirect

from gpucloud_core.access.authorize import Action
from gpucloud_core.allocations.lists import ListAllocations
from gpucloud_core.billing.burn import ReadBurn
from gpucloud_core.billing.payments import (
    CheckoutAsked,
    OpenPortal,
    PaymentView,
    ReadPayment,
    StartCheckout,
)
from gpucloud_core.billing.queries import ListLedger, ListUsage
from gpucloud_core.kernel.errors import DomainError, NotFound
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_web import formats
from gpucloud_web.charts import Chart, RangeChoice
from gpucloud_web.components import FieldFault
from gpucloud_web.pages.addresses import address
from gpucloud_web.pages.billing_rows import BillingPage, ReturnPage
from gpucloud_web.pages.forms import status_of
from gpucloud_web.pages.money_charts import RANGES, burn_chart, range_choices, range_of
from gpucloud_web.pages.money_lists import (
    LEDGER,
    NO_TRANSFERS,
    NO_USAGE,
    USAGE,
    MoneyDrawing,
    ledger_query,
    usage_query,
)
from gpucloud_web.pages.rendered import see_other
from gpucloud_web.pages.visit import Visit, form_of, fresh_key, one, provide_visit
from gpucloud_web.tables import ListView


async def _billing_page(
    visit: Visit,
    *,
    status: int = 200,
    amount: str = "",
    errors: Sequence[FieldFault] = (),
    payment: PaymentView | None = None,
) -> Response[str]:
    ledger = visit.request.query_params.get("view") == "ledger"
    money = await (_ledger(visit) if ledger else _usage(visit))
    burn, ranges = await burn_of(visit, "/billing", view="ledger" if ledger else "")
    view = BillingPage.of(
        balance=visit.balance,
        money=money,
        burn=burn,
        ranges=ranges,
        may_pay=visit.may(Action.BILLING_PAY),
        idempotency_key=fresh_key(),
        zone=visit.zone,
        payment=payment,
        amount=amount,
        errors=errors,
    )
    return visit.page("billing/index.html", view, status=status)


async def burn_of(visit: Visit, path: str, **kept: str) -> tuple[Chart, tuple[RangeChoice, ...]]:
    """Return the tenant's burn over the range that the address asks for, and the other ranges."""
    read_burn = await visit.use_case(ReadBurn)
    chosen = range_of(visit.request.query_params.get("range", ""))
    burn = await read_burn(actor=visit.actor, since=visit.now - RANGES[chosen][1])
    chart = burn_chart(
        burn,
        await visit.sku_names(),
        currency=visit.balance.currency,
        zone=visit.zone,
        now=visit.now,
    )
    return chart, range_choices(path, chosen, **kept)


async def _usage(visit: Visit) -> ListView:
    list_usage = await visit.use_case(ListUsage)
    asked = visit.list_state("/billing", USAGE)
    state, page = await asked.read(
        lambda now: list_usage(actor=visit.actor, query=usage_query(now, visit.zone))
    )
    drawing = await _drawing(visit, {row.allocation_id for row in page.items})
    rows = []
    for row in page.items:
        until = f"to {formats.short_time(row.until, visit.now, visit.zone)}"
        moment = formats.moment(row.since, visit.now, visit.zone)
        rows.append(drawing.usage(row, moment, "running" if row.running else until))
    export = address(
        "/api/v1/billing/usage/csv",
        **{
            name: day.isoformat() if (day := state.day(name, visit.zone)) else ""
            for name in ("from", "to")
        },
        sort=state.sort,
    )
    view = state.list_view(page, rows, empty=NO_USAGE, ever=bool(rows) or state.is_filtered)
    return replace(view, export=export)


async def _ledger(visit: Visit) -> ListView:
    list_ledger = await visit.use_case(ListLedger)
    asked = visit.list_state("/billing", LEDGER)
    state, page = await asked.read(
        lambda now: list_ledger(actor=visit.actor, query=ledger_query(now))
    )
    drawing = await _drawing(visit, {row.allocation_id for row in page.items if row.allocation_id})
    rows = [
        drawing.transfer(row, formats.moment(row.at, visit.now, visit.zone)) for row in page.items
    ]
    view = state.list_view(page, rows, empty=NO_TRANSFERS, ever=bool(rows) or state.is_filtered)
    export = address(
        "/api/v1/billing/ledger/csv", kind=state.filters.get("kind", ""), sort=state.sort
    )
    return replace(view, export=export)


async def _drawing(visit: Visit, ids: Collection[AllocationId]) -> MoneyDrawing:
    """Return what rows are drawn with: the names of the workloads they are about among it."""
    workloads: dict[AllocationId, str] = {}
    if ids and visit.project_id is not None:
        list_allocations = await visit.use_case(ListAllocations)
        query = ListQuery(where={"id": tuple(ids)}, limit=100)
        page = await list_allocations(actor=visit.actor, project_id=visit.project_id, query=query)
        workloads = {line.allocation.id: line.allocation.name for line in page.items}
    return MoneyDrawing(
        currency=visit.balance.currency,
        workloads=workloads,
        names=await visit.sku_names(),
        zone=visit.zone,
    )


class BillingPages(Controller):
    path = "/billing"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}

    @get()
    async def index(
        self, visit: NamedDependency[Visit], read_payment: FromDishka[ReadPayment]
    ) -> Response[str]:
        """Show the balance and the usage; after a cancelled payment, say so."""
        payment = await _payment(visit, read_payment)
        return await _billing_page(visit, payment=payment)

    @get("/return")
    async def returned(
        self, visit: NamedDependency[Visit], read_payment: FromDishka[ReadPayment]
    ) -> Response[str] | Redirect:
        """Say how a payment stands. Coming back credits nothing: the provider's event does."""
        payment = await _payment(visit, read_payment)
        if payment is None:
            return see_other("/billing")
        return visit.page("billing/return.html", ReturnPage.of(payment, visit.balance))

    @post("/checkout", status_code=303)
    async def checkout(
        self, visit: NamedDependency[Visit], start_checkout: FromDishka[StartCheckout]
    ) -> Response[str] | Redirect:
        """Open the provider's pay page for an amount."""
        form = await form_of(visit.request)
        typed = one(form, "amount")
        micros = formats.parse_amount(typed)
        if micros is None:
            fault = FieldFault(
                field="amount",
                text="Type an amount such as 100 or 49.50, with two decimals at most.",
            )
            return await _billing_page(visit, status=422, amount=typed, errors=(fault,))
        try:
            session = await start_checkout(
                actor=visit.actor,
                asked=CheckoutAsked(amount_micros=micros, currency=visit.balance.currency),
                idempotency=await visit.idempotency(one(form, "idempotency_key")),
            )
        except DomainError as error:
            faults = [FieldFault(field="amount", text=each.detail) for each in error.fields]
            faults = faults or [FieldFault(field="", text=f"{error.detail} {error.next_step}")]
            status = status_of(error)
            return await _billing_page(visit, status=status, amount=typed, errors=faults)
        return see_other(session.url or f"/billing/return?payment={session.id}")

    @post("/portal", status_code=303)
    async def portal(
        self, visit: NamedDependency[Visit], open_portal: FromDishka[OpenPortal]
    ) -> Redirect:
        """Go to the provider's own page for cards and receipts."""
        return see_other(await open_portal(actor=visit.actor))


async def _payment(visit: Visit, read_payment: ReadPayment) -> PaymentView | None:
    """Return the payment that the address names, if it is one of ours."""
    named = visit.request.query_params.get("payment", "")
    if not named:
        return None
    try:
        return await read_payment(actor=visit.actor, payment_id=named)
    except NotFound:
        return None
