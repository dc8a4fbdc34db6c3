"""View rows of one node: its three layers, its picture, its slots, what was found, its tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from gpucloud_core.allocations.lifecycle import PublicStatus
from gpucloud_core.fleet.held import Holding
from gpucloud_core.fleet.operate import allowed
from gpucloud_core.fleet.queries import NodeLine, NodeView, StillFits
from gpucloud_core.nodes.lifecycle import NodeEvent
from gpucloud_core.nodes.model import NodeMode, NodeStatus, Slot, SlotState
from gpucloud_core.nodes.review import SlotReview
from gpucloud_core.placement.explain import explain_placement
from gpucloud_web import formats
from gpucloud_web.components import Choice, Fact, FieldFault, MenuEntry, ViewTab
from gpucloud_web.node_picture import OUT_OF_SALE, Holder, TopologyPicture, mask_of
from gpucloud_web.pages.addresses import address
from gpucloud_web.pages.node_forms import PLACE_FIELDS, kinds, place_words
from gpucloud_web.pages.node_list import slots_words
from gpucloud_web.pages.node_words import LOOKS, MODES, VERBS, observed

TABS: Final = {
    "topology": "Topology",
    "slots": "Slots",
    "discovery": "Discovery",
    "tasks": "Tasks",
    "settings": "Settings",
}
FIRST_VERBS: Final = (NodeEvent.DRAIN, NodeEvent.UNDRAIN, NodeEvent.CLEAR, NodeEvent.BRING_BACK)
_BILLED: Final = frozenset({PublicStatus.ACTIVE, PublicStatus.RESTARTING})


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRow:
    """One slot: its state, its holder, its share, and what is still wanting."""

    index: int
    anchor: str
    state: str
    reason: str
    holder: str
    holder_href: str
    owner: str
    pci: str
    numa: str
    share: str
    beside: tuple[str, ...]
    endpoint: str
    wanting: tuple[str, ...]
    conditions: str
    selectable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderRow:
    """One holder of the node, and why placement put it here."""

    name: str
    href: str
    status: str
    owner: str
    gpus: str
    rate: str
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRow:
    """One fault or difference that a discovery found."""

    code: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LookRow:
    """One task on the node."""

    title: str
    href: str
    status: str
    when: formats.Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePage:
    """All that ``nodes/detail.html`` may know."""

    id: str
    name: str
    href: str
    status: str
    about: str
    trouble: str
    observed: str
    probe_error: str
    working: str
    working_href: str
    facts: tuple[Fact, ...]
    tabs: tuple[ViewTab, ...]
    tab: str
    picture: TopologyPicture | None
    slots: tuple[SlotRow, ...]
    to_approve: int
    may_disable: bool
    may_enable: bool
    holders: tuple[HolderRow, ...]
    fits: tuple[Fact, ...]
    read_at: str
    faults: tuple[FindingRow, ...]
    differences: tuple[FindingRow, ...]
    tasks: tuple[LookRow, ...]
    access: tuple[Fact, ...]
    host_key: str
    modes: tuple[Choice, ...]
    kinds: tuple[Choice, ...]
    place: Mapping[str, str]
    verbs: tuple[MenuEntry, ...]
    first_verb: MenuEntry | None
    may_manage: bool
    key: str
    errors: tuple[FieldFault, ...]

    @classmethod
    def of(
        cls,
        view: NodeView,
        *,
        zone: tzinfo,
        tab: str,
        may_manage: bool,
        key: str,
        errors: Sequence[FieldFault] = (),
    ) -> "NodePage":
        node = view.node
        href = f"/admin/nodes/{node.id}"
        moving = next((task for task in view.tasks if task.finished_at is None), None)
        verbs = _verbs(view, href, may_manage=may_manage)
        findings = node.findings
        slots = _slots(view)
        return cls(
            id=node.id,
            name=node.name,
            href=href,
            status=node.status,
            about=f"{_system(view)} · {MODES[node.mode].lower()} · {node.region}",
            trouble=_trouble(view),
            observed=observed(node) or "",
            probe_error=node.probe_error,
            working=LOOKS.get(moving.kind, moving.kind) if moving else "",
            working_href=f"/tasks/{moving.id}" if moving else "",
            facts=_facts(view),
            tabs=tuple(
                ViewTab(
                    title=title,
                    href=address(href, tab=name if name != "topology" else ""),
                    count=_count(view, name),
                    current=name == tab,
                    hot=name == "discovery" and bool(view.review.differences),
                )
                for name, title in TABS.items()
            ),
            tab=tab,
            picture=_picture(view),
            slots=slots,
            to_approve=sum(each.is_ready for each in view.review.slots if _waits(each.slot)),
            may_disable=any(slot.state is SlotState.AVAILABLE for slot in view.slots),
            may_enable=any(slot.state is SlotState.DISABLED for slot in view.slots),
            holders=tuple(_holder(one) for one in view.held),
            fits=tuple(_fit(one) for one in view.fits),
            read_at=formats.short_time(findings.at, view.as_of, zone) if findings else "",
            faults=tuple(
                FindingRow(code=each.code, subject="", text=each.detail)
                for each in (findings.faults if findings else ())
            ),
            differences=tuple(
                FindingRow(
                    code=each.code, subject=each.subject, text=f"{each.before} → {each.after}"
                )
                for each in view.review.differences
            ),
            tasks=tuple(
                LookRow(
                    title=LOOKS.get(task.kind, task.kind),
                    href=f"/tasks/{task.id}",
                    status=task.status,
                    when=formats.moment(task.created_at, view.as_of, zone),
                )
                for task in view.tasks
            ),
            access=(
                Fact(label="Address", value=f"{node.access.host}, port {node.access.port}"),
                Fact(label="Account", value=node.access.username),
                Fact(label="Private key", value="sealed; never shown"),
                Fact(label="Shared kernel", value="allowed" if node.shared_kernel else "no"),
            ),
            host_key=node.access.host_key,
            modes=tuple(
                Choice(value=mode, text=MODES[mode], selected=mode is node.mode)
                for mode in NodeMode
            ),
            kinds=kinds(node.place.kind if node.place else ""),
            place={name: getattr(node.place, name, "") for name in PLACE_FIELDS},
            verbs=tuple(entry for event, entry in verbs if event not in FIRST_VERBS),
            first_verb=next((entry for event, entry in verbs if event in FIRST_VERBS), None),
            may_manage=may_manage,
            key=key,
            errors=tuple(errors),
        )


def _system(view: NodeView) -> str:
    topology = view.node.topology
    if not topology.gpus:
        return "not discovered yet"
    return f"{formats.counted(len(topology.gpus), topology.gpus[0].model)}, {topology.system}"


def _trouble(view: NodeView) -> str:
    node, capacity = view.node, view.capacity
    if node.status is NodeStatus.ACTIVE and capacity and not capacity.sellable:
        return f"Nothing new is sold from it: {capacity.unsellable_reason}."
    return node.status_reason


def _facts(view: NodeView) -> tuple[Fact, ...]:
    line = NodeLine(
        node=view.node,
        slots=view.slots,
        held=view.held,
        capacity=view.capacity,
        as_of=view.as_of,
    )
    earning = sum(
        one.allocation.rate_micros_per_hour
        for one in view.held
        if one.allocation and one.status in _BILLED
    )
    currency = next((one.allocation.currency for one in view.held if one.allocation), "USD")
    return (
        Fact(label="Slots", value=slots_words(line)),
        Fact(label="Earning now", value=formats.hourly(earning, currency)),
        Fact(label="Still fits", value=fits_words(view.fits)),
        Fact(label="In the fabric", value=place_words(view.node.place)),
    )


def fits_words(fits: Sequence[StillFits]) -> str:
    """Return the largest launch that still fits, and how often; or that nothing does."""
    best = [(size, times) for fit in fits for size, times in sorted(fit.launches.items()) if times]
    if not best:
        return "nothing"
    size, times = max(best)
    return f"{times} × {formats.counted(size, 'GPU')}"


def _fit(one: StillFits) -> Fact:
    said = [
        f"{times} × {formats.counted(size, 'GPU')}"
        for size, times in sorted(one.launches.items())
        if times
    ]
    return Fact(label=one.sku.display_name, value=", or ".join(said) or "nothing")


def _count(view: NodeView, tab: str) -> str:
    match tab:
        case "slots":
            return str(len(view.slots))
        case "discovery" if view.review.differences:
            return f"{len(view.review.differences)} differ"
        case _:
            return ""


def _picture(view: NodeView) -> TopologyPicture | None:
    if not view.node.topology.gpus:
        return None
    held = 0
    for one in view.held:
        held |= one.claim.mask
    return TopologyPicture.of(
        id="topology",
        node=view.node.name,
        topology=view.node.topology,
        holders=[Holder(mask=one.claim.mask, name=_holder_name(one)) for one in view.held],
        free=mask_of(view.slots, {SlotState.AVAILABLE}) & ~held,
        states={slot.index: slot.state for slot in view.slots if slot.state in OUT_OF_SALE},
        disks={slot.index: slot.disk for slot in view.slots if slot.disk},
    )


def _holder_name(one: Holding) -> str:
    name = one.allocation.name if one.allocation else one.claim.allocation_id
    return f"{name} · {one.owner}" if one.owner else name


def _holder(one: Holding) -> HolderRow:
    mask, row = one.claim.mask, one.allocation
    gpus = tuple(index for index in range(mask.bit_length()) if mask >> index & 1)
    return HolderRow(
        name=row.name if row else one.claim.allocation_id,
        href=f"/admin/allocations?q={one.claim.allocation_id}",
        status=one.status or PublicStatus.RELEASE_FAILED,
        owner=one.owner or "unknown",
        gpus=formats.gpu_set(gpus),
        rate=formats.hourly(row.rate_micros_per_hour, row.currency) if row else "",
        why=explain_placement(one.claim.explanation, gpu_count=len(gpus)),
    )


def _waits(slot: Slot) -> bool:
    return slot.state is SlotState.PROPOSED


def _slots(view: NodeView) -> tuple[SlotRow, ...]:
    pci = {gpu.index: gpu.pci_address for gpu in view.node.topology.gpus}
    rows = []
    for each in view.review.slots:
        slot = each.slot
        holder = next((one for one in view.held if one.claim.mask >> slot.index & 1), None)
        rows.append(
            SlotRow(
                index=slot.index,
                anchor=f"slot-{slot.index}",
                state=slot.state,
                reason=slot.reason,
                holder=_holder_name(holder) if holder else "",
                holder_href=f"/admin/allocations?q={holder.claim.allocation_id}" if holder else "",
                owner=holder.tenant if holder else "",
                pci=pci.get(slot.index, "").split(":", 1)[-1].removesuffix(".0").lower(),
                numa=str(slot.numa),
                share=f"{slot.cpus or 'no'} CPUs, {formats.gibibytes(slot.memory_mib)}",
                beside=_beside(each),
                endpoint=f"{slot.ssh_host}:{slot.ssh_port}",
                wanting=tuple(condition.reason for condition in each.wanting),
                conditions=_conditions(each),
                selectable=slot.state
                in {SlotState.PROPOSED, SlotState.AVAILABLE, SlotState.DISABLED},
            )
        )
    return tuple(rows)


def _beside(each: SlotReview) -> tuple[str, ...]:
    """Return what the slot's disk and port are, or why it has none, as its conditions say it."""
    return tuple(
        condition.reason
        for condition in each.conditions
        if condition.holds and condition.code in {"data_disk", "network_port"}
    )


def _conditions(each: SlotReview) -> str:
    total = len(each.conditions)
    held = total - len(each.wanting)
    return f"all {total} conditions hold" if held == total else f"{held} of {total} conditions hold"


def _verbs(view: NodeView, href: str, *, may_manage: bool) -> list[tuple[NodeEvent, MenuEntry]]:
    """Return what may be done with the node; what ends it is offered, and says why it may not."""
    found = []
    for event in allowed(view.node, view.slots, is_held=bool(view.held)):
        verb = VERBS[event]
        if verb.grade == 3 and event is not NodeEvent.QUARANTINE and not may_manage:  # noqa: PLR2004
            continue
        entry = MenuEntry(
            text=f"{verb.verb}…",
            icon=verb.icon,
            href=f"{href}/{verb.path}",
            danger=verb.danger,
            dialog=True,
            operation=verb.operation,
        )
        found.append((event, entry))
    return found
