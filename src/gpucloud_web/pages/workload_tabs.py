"""What single tabs of a workload read: its metrics, the course of its cost, its ledger entries."""

from dataclasses import replace

from gpucloud_core.access.authorize import Action
from gpucloud_core.access.ssh_keys import ListSshKeys
from gpucloud_core.allocations.lifecycle import PublicStatus
from gpucloud_core.allocations.metrics import MetricsUnavailable, NotMeasured, ReadMetrics
from gpucloud_core.allocations.queries import AllocationView
from gpucloud_core.billing.burn import ReadBurn
from gpucloud_core.billing.queries import ListLedger
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_web import formats
from gpucloud_web.api.metrics import BACK, Back
from gpucloud_web.charts import Chart
from gpucloud_web.components import Choice
from gpucloud_web.pages.addresses import address
from gpucloud_web.pages.metric_charts import MetricCharts
from gpucloud_web.pages.money_charts import cost_chart
from gpucloud_web.pages.money_lists import LEDGER, NO_TRANSFERS, MoneyDrawing
from gpucloud_web.pages.visit import Visit
from gpucloud_web.pages.workload_detail import TabParts
from gpucloud_web.tables import ListView


async def parts_of(visit: Visit, found: AllocationView, *, href: str, tab: str) -> TabParts:
    """Return what the tab needs beyond the allocation itself."""
    if tab == "metrics":
        return TabParts(metrics=await _metrics(visit, found, href))
    if tab == "cost":
        return TabParts(cost_chart=await _cost(visit, found), entries=await _entries(visit, found))
    if tab == "access" and found.status is PublicStatus.ACTIVE:
        return TabParts(key_choices=await _keys(visit, found))
    if tab == "overview" and found.status is PublicStatus.ACTIVE:
        metrics = await _metrics(visit, found, href)
        return TabParts(lately=metrics.charts[0] if metrics.charts else None)
    return TabParts()


async def _keys(visit: Visit, found: AllocationView) -> tuple[Choice, ...]:
    """Return which keys may get in: one's own, and others' that are in already."""
    if not visit.may(Action.ALLOCATION_KEYS):
        return ()
    list_ssh_keys = await visit.use_case(ListSshKeys)
    mine = (await list_ssh_keys(actor=visit.actor, query=ListQuery(limit=100))).items
    inside = {key.id: key for key in found.allocation.keys}
    choices = [
        Choice(value=key.id, text=key.name, selected=key.id in inside, note=key.fingerprint)
        for key in mine
    ]
    others = [key for key in inside.values() if key.id not in {each.id for each in mine}]
    return (
        *choices,
        *(
            Choice(value=key.id, text=key.name, selected=True, note=f"{key.fingerprint}, not yours")
            for key in others
        ),
    )


async def _metrics(visit: Visit, found: AllocationView, href: str) -> MetricCharts:
    asked = visit.request.query_params.get("range", "")
    back = Back(asked) if asked in set(Back) else Back.HOUR
    read_metrics = await visit.use_case(ReadMetrics)
    try:
        metrics = await read_metrics(
            actor=visit.actor, allocation_id=found.allocation.id, back=BACK[back]
        )
    except (NotMeasured, MetricsUnavailable) as error:
        return MetricCharts.without(f"{error.detail} {error.next_step}", href=href, back=back)
    return MetricCharts.of(metrics, href=href, back=back, zone=visit.zone)


async def _cost(visit: Visit, found: AllocationView) -> Chart | None:
    row = found.allocation
    if row.active_at is None:
        return None
    read_burn = await visit.use_case(ReadBurn)
    burn = await read_burn(actor=visit.actor, since=row.active_at, allocation_id=row.id)
    until = row.billing_stopped_at or burn.until
    return cost_chart(replace(burn, until=until), currency=row.currency, zone=visit.zone)


async def _entries(visit: Visit, found: AllocationView) -> ListView:
    """Return the newest transfers of the ledger about this workload."""
    row = found.allocation
    list_ledger = await visit.use_case(ListLedger)
    page = await list_ledger(
        actor=visit.actor, query=ListQuery(where={"allocation_id": (row.id,)}, limit=25)
    )
    drawing = MoneyDrawing(
        currency=row.currency, workloads={row.id: row.name}, names={}, zone=visit.zone
    )
    rows = [
        drawing.transfer(one, formats.moment(one.at, visit.now, visit.zone)) for one in page.items
    ]
    spec = replace(LEDGER, columns=tuple(c for c in LEDGER.columns if c.key != "memo"))
    view = visit.list_state("/billing", spec).list_view(page, rows, empty=NO_TRANSFERS)
    heads = tuple(replace(head, href="") for head in view.heads)
    export = address("/api/v1/billing/ledger/csv", allocation_id=row.id)
    return replace(view, heads=heads, export=export)
