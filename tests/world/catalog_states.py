"""The screens of the catalog and of the audit trail in each of their states.

Like ``world.page_states``, of which it is a part: drivers set the scene for Ada, given a role
of the platform, and return the address to look at.
"""

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote

from gpucloud_adapters.memory.cloud import SKU
from gpucloud_adapters.stored.kinds import AUDIT_ROWS, OS_IMAGES, SKUS
from gpucloud_core.access.model import PlatformRole
from gpucloud_core.audit.seal import SealAudit
from gpucloud_core.catalog.model import ImageTrust, OsImage, Price
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.work.model import TaskStatus
from gpucloud_web.pages.plan_forms import FRESH
from page_visitor import launched
from world.page_states import Driver, Matrix, Scene, below, refusal

PLATFORM: Final = Scope.platform()
DIGEST: Final = f"registry.example/cuda@sha256:{sha256(b'').hexdigest()}"
RESTRICTED: Final = "This page is for a platform admin"
IGNORED: Final = "Ignored in the address"


async def operator(scene: Scene) -> None:
    await scene.visitor.arrive("ada")
    async with scene.cloud.transactions.begin(PLATFORM) as unit:
        (user,) = await unit.users.find(username_key="ada")
        await unit.users.put(replace(user, platform_role=PlatformRole.ADMIN))


def at(path: str) -> Driver:
    """Return a driver that looks at an address as an operator."""

    async def driver(scene: Scene) -> str:
        await operator(scene)
        return path

    return driver


def others(path: str) -> Driver:
    """Return a driver that looks at it as a customer."""

    async def driver(scene: Scene) -> str:
        await scene.visitor.arrive("ada")
        return path

    return driver


def sku_with(path: str = "", **changes: Any) -> Driver:
    """Return a driver that looks at the SKU, changed as told."""

    async def driver(scene: Scene) -> str:
        await operator(scene)
        async with scene.cloud.transactions.begin(PLATFORM) as unit:
            (sku,) = await unit.skus.find()
            await unit.skus.put(replace(sku, **changes))
        return path or f"/admin/skus/{SKU}"

    return driver


async def nothing_sold(scene: Scene) -> str:
    await operator(scene)
    scene.cloud.transactions.database.table(SKUS).remove(SKU)
    return "/admin/skus"


async def unpriced(scene: Scene) -> str:
    await operator(scene)
    async with scene.cloud.transactions.begin(PLATFORM) as unit:
        for price in await unit.prices.find():
            await unit.prices.delete(price.id)
    return f"/admin/skus/{SKU}"


async def _priced(scene: Scene, later: timedelta) -> None:
    begins = scene.cloud.clock.now() + later
    async with scene.cloud.transactions.begin(PLATFORM) as unit:
        price = Price(
            id=f"{SKU}/{begins.isoformat()}",
            sku_id=SKU,
            micros_per_gpu_hour=2_990_000,
            currency="USD",
            starts_at=begins,
        )
        await unit.prices.add(price)


async def planned(scene: Scene) -> str:
    await operator(scene)
    await _priced(scene, timedelta(days=3))
    return f"/admin/skus/{SKU}"


async def _withdrawn(scene: Scene) -> str:
    await operator(scene)
    await _priced(scene, timedelta(days=3))
    begins = scene.cloud.clock.now() + timedelta(days=3)
    at_second = quote(begins.replace(microsecond=0).isoformat())
    return f"{_SKUS}/{SKU}/price/withdraw?at={at_second}"


async def kept(scene: Scene) -> str:
    await operator(scene)
    await launched(scene.visitor)
    await scene.cloud.work()
    await _priced(scene, timedelta(minutes=1))
    await scene.cloud.pass_time(timedelta(hours=1))
    return f"/admin/skus/{SKU}"


def image_with(**changes: Any) -> Driver:
    """Return a driver that looks at the image, changed as told."""

    async def driver(scene: Scene) -> str:
        await operator(scene)
        image: OsImage = scene.cloud.transactions.database.rows(OS_IMAGES)[0]
        async with scene.cloud.transactions.begin(PLATFORM) as unit:
            await unit.os_images.put(replace(image, **changes))
        return f"/admin/os-images/{image.id}"

    return driver


def trusted(trust: ImageTrust, reason: str = "") -> Driver:
    async def driver(scene: Scene) -> str:
        at = scene.cloud.clock.now()
        found = image_with(digest=DIGEST, trust=trust, trust_reason=reason, trust_at=at)
        return await found(scene)

    return driver


def audit(path: str, *, sealed: bool = True, bad: bool = False) -> Driver:
    """Return a driver that looks at the audit trail; ``{id}`` is a row of it."""

    async def driver(scene: Scene) -> str:
        await operator(scene)
        database = scene.cloud.transactions.database
        if sealed:
            await SealAudit(transactions=scene.cloud.transactions)()
        row = database.audit_rows[-1]
        if bad:
            database.table(AUDIT_ROWS).rows[row.id] = replace(row, actor="somebody else")
        return path.format(id=row.id)

    return driver


async def _asked(scene: Scene) -> str:
    await operator(scene)
    form = await scene.visitor.get(f"{_PLANS}/new")
    fields = {**FRESH, "nodes": "2", "launches": "40"}
    answer = await scene.visitor.submit(form, f"{_PLANS}/new", fields)
    return str(answer.headers["location"])


async def _played(scene: Scene) -> str:
    address = await _asked(scene)
    await scene.cloud.work()
    return address


async def _not_played(scene: Scene) -> str:
    address = await _asked(scene)
    async with scene.cloud.transactions.begin(PLATFORM) as unit:
        (task,) = await unit.tasks.find(subject="plan")
        now = scene.cloud.clock.now()
        changed = replace(
            task, status=TaskStatus.FAILED, error_detail="It took too long.", finished_at=now
        )
        await unit.tasks.put(changed)
    return address


_PLANS: Final = "/admin/nodes/plans"
_SKUS, _IMAGES, _AUDIT = "/admin/skus", "/admin/os-images", "/admin/audit-logs"
CATALOG_MATRIX: Final[Matrix] = {
    _SKUS: {
        "restricted": (others(_SKUS), RESTRICTED),
        "empty_first": (nothing_sold, "Nothing is sold yet"),
        "empty_filtered": (at(f"{_SKUS}?q=nothing"), "No matches"),
        "bad_address": (at(f"{_SKUS}?sort=size"), IGNORED),
    },
    f"{_SKUS}/{{id}}": {
        "restricted": (others(f"{_SKUS}/{SKU}"), RESTRICTED),
        "unpriced": (unpriced, "It has no price yet, so it is not sold."),
        "planned_price": (planned, "Take back"),
        "off_sale": (sku_with(active=False), "Put on sale"),
        "earlier_price": (kept, "an earlier price, kept"),
        "no_image": (sku_with(image_ids=()), "It offers no image"),
        "archive": (at(f"{_SKUS}/{SKU}/archive"), "It leaves the catalog"),
        "restore": (sku_with(f"{_SKUS}/{SKU}/restore", active=False), "in the catalog again"),
        "withdraw": (_withdrawn, "will not come into force"),
    },
    f"{_SKUS}/new": {
        "restricted": (others(f"{_SKUS}/new"), RESTRICTED),
        "form": (at(f"{_SKUS}/new"), "It is sold once it has a price."),
        "refused": (refusal(at(f"{_SKUS}/new"), vcpus_per_gpu="many"), "Give the vCPUs as a"),
    },
    f"{_SKUS}/{{id}}/edit": {
        "restricted": (others(f"{_SKUS}/{SKU}/edit"), RESTRICTED),
        "form": (at(f"{_SKUS}/{SKU}/edit"), "what runs keeps what it has"),
        "refused": (refusal(at(f"{_SKUS}/{SKU}/edit"), vcpus_per_gpu="?"), "Give the vCPUs as a"),
    },
    f"{_SKUS}/{{id}}/price": {
        "restricted": (others(f"{_SKUS}/{SKU}/price"), RESTRICTED),
        "form": (at(f"{_SKUS}/{SKU}/price"), "It is $3.2900 / GPU-h now."),
        "refused": (refusal(at(f"{_SKUS}/{SKU}/price"), price="dear"), "Type a price, such as"),
    },
    _PLANS: {
        "restricted": (others(_PLANS), "This page is for platform ops"),
        "empty_first": (at(_PLANS), "Nothing was planned yet"),
    },
    f"{_PLANS}/new": {
        "restricted": (others(f"{_PLANS}/new"), "This page is for platform ops"),
        "form": (at(f"{_PLANS}/new"), "It changes nothing."),
        "refused": (refusal(at(f"{_PLANS}/new"), mix="all"), "Nothing was planned."),
    },
    f"{_PLANS}/{{id}}": {
        "restricted": (others(f"{_PLANS}/tsk_{'0' * 26}"), "This page is for platform ops"),
        "playing": (_asked, "It is being played."),
        "played": (_played, "of 40 launches"),
        "failed": (_not_played, "It took too long."),
    },
    _IMAGES: {
        "restricted": (others(_IMAGES), RESTRICTED),
        "empty_filtered": (at(f"{_IMAGES}?q=nothing"), "No matches"),
        "bad_address": (at(f"{_IMAGES}?sort=size"), IGNORED),
    },
    f"{_IMAGES}/{{id}}": {
        "restricted": (others(f"{_IMAGES}/img_{'0' * 26}"), RESTRICTED),
        "unverifiable": (image_with(digest=""), "nothing to compare it with"),
        "verifying": (
            trusted(ImageTrust.VERIFYING, "1.2 of 4.0 GiB read (30 %)"),
            "Under way: 1.2 of 4.0 GiB read (30 %).",
        ),
        "verified": (trusted(ImageTrust.VERIFIED), "is what the image is named by"),
        "failed": (trusted(ImageTrust.FAILED, "Another content."), "Another content."),
        "withheld": (image_with(active=False), "Nothing can be launched on"),
        "withhold": (below(image_with(), "/withhold"), "Nobody can choose it"),
        "offer": (below(image_with(active=False), "/offer"), "It can be chosen on"),
    },
    f"{_IMAGES}/new": {
        "restricted": (others(f"{_IMAGES}/new"), RESTRICTED),
        "form": (at(f"{_IMAGES}/new"), "It is named by its content"),
        "refused": (refusal(at(f"{_IMAGES}/new"), runtime="dream"), "Choose one of the runtimes."),
    },
    f"{_IMAGES}/{{id}}/edit": {
        "restricted": (others(f"{_IMAGES}/img_{'0' * 26}/edit"), RESTRICTED),
        "form": (below(image_with(digest=DIGEST), "/edit"), "never changes"),
        "refused": (
            refusal(below(image_with(), "/edit"), name="", version="24.04"),
            "Use 1 to 120",
        ),
    },
    _AUDIT: {
        "restricted": (others(_AUDIT), RESTRICTED),
        "empty_filtered": (at(f"{_AUDIT}?q=nothing"), "No matches"),
        "bad_address": (at(f"{_AUDIT}?sort=size"), IGNORED),
        "bad_row": (audit(_AUDIT, bad=True), "is not what was recorded"),
    },
    f"{_AUDIT}/{{id}}": {
        "restricted": (others(f"{_AUDIT}/aud_{'0' * 26}"), RESTRICTED),
        "sealed": (audit(f"{_AUDIT}/{{id}}"), "follows from the row before it"),
        "unsealed": (audit(f"{_AUDIT}/{{id}}", sealed=False), "comes within seconds"),
        "bad": (audit(f"{_AUDIT}/{{id}}", bad=True), "does not hold what was recorded"),
    },
}
