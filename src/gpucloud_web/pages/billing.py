"""Billing & Usage: the balance, adding funds through the provider's page, and coming back."""

from collections.abc import Sequence

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.response import Redirect

from gpucloud_core.access.authorize import Action
from gpucloud_core.allocations.queries import ListAllocations
from gpucloud_core.billing.payments import (
    CheckoutAsked,
    OpenPortal,
    PaymentView,
    ReadPayment,
    StartCheckout,
)
from gpucloud_core.billing.queries import ListUsage, UsageQuery
from gpucloud_core.kernel.errors import DomainError, NotFound
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_web import formats
from gpucloud_web.components import FieldFault
from gpucloud_web.pages.addresses import ListState
from gpucloud_web.pages.billing_rows import USAGE_SORTS, BillingPage, ReturnPage
from gpucloud_web.pages.rendered import see_other
from gpucloud_web.pages.sign_in import STATUS
from gpucloud_web.pages.visit import Visit, form_of, fresh_key, one, provide_visit


async def _billing_page(
    visit: Visit,
    *,
    status: int = 200,
    amount: str = "",
    errors: Sequence[FieldFault] = (),
    payment: PaymentView | None = None,
) -> Response[str]:
    state = ListState.of(
        "/billing", dict(visit.request.query_params), views=("",), sorts=USAGE_SORTS
    )
    list_usage = await visit.use_case(ListUsage)
    usage = await list_usage(
        actor=visit.actor,
        query=UsageQuery(sort=state.sort, cursor=state.cursor or None, limit=state.limit),
    )
    view = BillingPage.of(
        balance=visit.balance,
        usage=usage,
        state=state,
        workloads=await _workload_names(visit),
        names=await visit.sku_names(),
        may_pay=visit.may(Action.BILLING_PAY),
        idempotency_key=fresh_key(),
        zone=visit.zone,
        payment=payment,
        amount=amount,
        errors=errors,
    )
    return visit.page("billing/index.html", view, status=status)


async def _workload_names(visit: Visit) -> dict[str, str]:
    if visit.project_id is None:
        return {}
    list_allocations = await visit.use_case(ListAllocations)
    page = await list_allocations(
        actor=visit.actor, project_id=visit.project_id, query=ListQuery(limit=100)
    )
    return {line.allocation.id: line.allocation.name for line in page.items}


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
            status = STATUS.get(error.kind, 422)
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
