"""What a launch names and depends on, in one statement."""

from typing import Final

from sqlalchemy import text

from gpucloud_adapters.postgres.mapping import row_of_json
from gpucloud_adapters.postgres.session import Session
from gpucloud_adapters.postgres.tasks import USUAL_SECONDS
from gpucloud_adapters.stored import kinds
from gpucloud_adapters.stored.steps import ENOUGH, LATEST
from gpucloud_core.allocations.launch_rows import LaunchNames, LaunchRows

_OF_LAUNCH: Final = text(f"""
    SELECT
        (SELECT to_jsonb(s) FROM skus AS s WHERE s.id = :sku_id),
        (SELECT jsonb_agg(to_jsonb(i)) FROM os_images AS i WHERE i.id IN (
            SELECT jsonb_array_elements_text(s.image_ids) FROM skus AS s WHERE s.id = :sku_id
        )),
        (SELECT jsonb_agg(to_jsonb(p) ORDER BY p.id) FROM prices AS p WHERE p.sku_id = :sku_id),
        (SELECT jsonb_agg(to_jsonb(k) ORDER BY k.id) FROM ssh_keys AS k
         WHERE k.id = ANY(CAST(:key_ids AS text[]))),
        (SELECT sum(a.gpu_count) FROM allocations AS a
         WHERE a.tenant_id = :tenant_id AND a.state = ANY(CAST(:live AS text[]))),
        (SELECT jsonb_object_agg(usual.step, usual.seconds)
         FROM ({USUAL_SECONDS}) AS usual (step, seconds))
""")  # noqa: S608  the part is ours
_sku: Final = row_of_json(kinds.SKUS)
_image: Final = row_of_json(kinds.OS_IMAGES)
_price: Final = row_of_json(kinds.PRICES)
_key: Final = row_of_json(kinds.SSH_KEYS)


async def launch_rows(session: Session, names: LaunchNames) -> LaunchRows:
    kind, steps = names.saga
    given = {
        "sku_id": names.sku_id,
        "key_ids": list(names.ssh_key_ids),
        "tenant_id": names.tenant_id,
        "live": list(names.live),
        "kind": kind,
        "steps": list(steps),
        "latest": LATEST,
        "enough": ENOUGH,
    }
    ((sku, images, prices, keys, gpus_held, usual),) = await session.rows(_OF_LAUNCH, given)
    may_boot = map(_image, images or ())
    return LaunchRows(
        sku=None if sku is None else _sku(sku),
        images={image.id: image for image in may_boot},
        prices=tuple(map(_price, prices or ())),
        keys=tuple(map(_key, keys or ())),
        gpus_held=int(gpus_held or 0),
        usual_seconds=usual or {},
    )
