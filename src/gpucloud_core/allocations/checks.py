"""The prechecks of a launch: every one is looked at, and all that fail are shown together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gpucloud_core.access.model import SshKey
from gpucloud_core.allocations import errors
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.billing.amounts import in_words
from gpucloud_core.billing.books import AccountSuspended, InsufficientBalance
from gpucloud_core.billing.model import Balance, Standing
from gpucloud_core.catalog.model import OsImage, Sku
from gpucloud_core.kernel.errors import DomainError, FieldError
from gpucloud_core.placement.model import Refusal

GPUS_MAX: Final = 64
"""GPUs a tenant may hold at once, until a quota says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One precheck: a code, whether it holds, a sentence, and the field to look at."""

    code: str
    ok: bool
    detail: str
    field: str = ""


ERROR_OF: Final[dict[str, type[DomainError]]] = {
    "sku": errors.SkuNotOffered,
    "gpu_count": errors.CountNotAllowed,
    "image": errors.ImageNotOffered,
    "ssh_key": errors.SshKeyRequired,
    "ssh_key_known": errors.SshKeyUnknown,
    "standing": AccountSuspended,
    "quota": errors.QuotaExceeded,
    "balance": InsufficientBalance,
    "capacity": errors.SoldOut,
}
"""What a failed check is as a refusal, the most fundamental first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchFacts:
    """What the checks look at, read in the launch's own transaction."""

    sku: Sku | None
    image: OsImage | None
    keys: tuple[SshKey, ...]
    gpus_held: int
    balance: Balance
    rate_micros_per_hour: int  # of the whole launch
    hold_micros: int  # of the whole launch
    refusal: Refusal | None  # None: it fits


def checks(request: LaunchRequest, facts: LaunchFacts) -> tuple[Check, ...]:
    """Return every check, in the order people should mend them."""
    sku = facts.sku
    if sku is None:
        detail = f"{request.sku_id[:80]!r} is not in the catalog."
        return (Check(code="sku", ok=False, detail=detail, field="/sku"),)
    return (
        Check(code="sku", ok=True, detail=f"{sku.display_name} in {sku.region}", field="/sku"),
        _count(request, sku),
        _image(request, facts.image, sku),
        *_keys(request, facts.keys),
        _standing(facts.balance),
        _quota(request, facts.gpus_held),
        _balance(facts),
        _capacity(request, facts.refusal),
    )


def _count(request: LaunchRequest, sku: Sku) -> Check:
    ok = request.gpu_count in sku.allowed_gpu_counts
    allowed = _either([str(count) for count in sku.allowed_gpu_counts])
    detail = f"{_gpus(request.gpu_count)} per machine"
    if not ok:
        detail = f"{sku.display_name} is sold with {allowed} GPUs per machine."
    return Check(code="gpu_count", ok=ok, detail=detail, field="/gpu_count")


def _image(request: LaunchRequest, image: OsImage | None, sku: Sku) -> Check:
    if image is None:
        detail = f"{(request.image_id or '')[:80]!r} does not run on {sku.display_name}."
        return Check(code="image", ok=False, detail=detail, field="/image_id")
    return Check(code="image", ok=True, detail=f"{image.name} {image.version}", field="/image_id")


def _keys(request: LaunchRequest, keys: tuple[SshKey, ...]) -> list[Check]:
    if not request.ssh_key_ids:
        detail = "Choose at least one SSH key; without one nobody could get in."
        return [Check(code="ssh_key", ok=False, detail=detail, field="/ssh_key_ids")]
    names = ", ".join(key.name for key in keys)
    chosen = Check(code="ssh_key", ok=True, detail=names or "chosen", field="/ssh_key_ids")
    if missing := len(set(request.ssh_key_ids)) - len(keys):
        detail = f"{missing} of the keys is not in your list; it may have been deleted."
        return [Check(code="ssh_key_known", ok=False, detail=detail, field="/ssh_key_ids")]
    return [chosen]


def _standing(balance: Balance) -> Check:
    ok = balance.standing is not Standing.SUSPENDED
    detail = "The account may launch" if ok else "A payment is disputed; launches are suspended."
    return Check(code="standing", ok=ok, detail=detail)


def _quota(request: LaunchRequest, held: int) -> Check:
    wanted = request.gpu_count * request.count
    after = held + wanted
    detail = f"{after} of {GPUS_MAX} GPUs after this launch"
    if after > GPUS_MAX:
        detail = f"You hold {held} of {GPUS_MAX} GPUs; this launch asks for {wanted} more."
    return Check(code="quota", ok=after <= GPUS_MAX, detail=detail, field="/gpu_count")


def _balance(facts: LaunchFacts) -> Check:
    ok = facts.balance.available_micros >= facts.hold_micros and facts.hold_micros > 0
    have = in_words(facts.balance.available_micros, facts.balance.currency)
    need = in_words(facts.hold_micros, facts.balance.currency, round_up=True)
    detail = f"{have} available, {need} held as reserve"
    if not ok:
        detail = f"{have} is available; this launch holds {need} as its reserve. Add funds first."
    return Check(code="balance", ok=ok, detail=detail)


def _capacity(request: LaunchRequest, refusal: Refusal | None) -> Check:
    if refusal is None:
        machines = "machine" if request.count == 1 else "machines"
        detail = f"{request.count} {machines} of {_gpus(request.gpu_count)} fit now"
        return Check(code="capacity", ok=True, detail=detail)
    said = " ".join(reason.detail for reason in refusal.reasons)
    nearest = f" {refusal.nearest}" if refusal.nearest else ""
    return Check(code="capacity", ok=False, detail=f"{said}{nearest}", field="/gpu_count")


def refusal_of(found: Sequence[Check]) -> DomainError | None:
    """Return the error of the most fundamental failed check, naming every failed one; or None."""
    failed = [check for check in found if not check.ok]
    if not failed:
        return None
    order = list(ERROR_OF)
    first = min(failed, key=lambda check: order.index(check.code))
    fields = [FieldError(check.field, ERROR_OF[check.code].code, check.detail) for check in failed]
    return ERROR_OF[first.code](first.detail, fields=fields)


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
