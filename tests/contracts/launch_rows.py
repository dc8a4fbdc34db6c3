"""What a launch reads in one go is what its rows say one by one.

Seen to fail, each in its own way, with GPUs of ended allocations counted, with images that the SKU
may not boot, with prices of every SKU, and with the promises of another pool.
"""

from dataclasses import replace
from datetime import timedelta

from contracts.stores import PLATFORM, Household, StoreContract, StoreUnit
from gpucloud_adapters.memory.cloud import standard_sku
from gpucloud_core.allocations.launch_rows import LaunchNames
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.kernel.ids import ImageId, SkuId
from gpucloud_core.kernel.unit import Transactions
from gpucloud_core.placement.model import PlacementRequest
from gpucloud_core.placement.promises import Promise
from row_builders import NOW, a_claim, a_node, a_task, an_allocation, an_ssh_key, fresh

LIVE = (AllocationState.ACTIVE, AllocationState.REQUESTED)


class LaunchRowsContract(StoreContract):
    async def test_are_the_rows_that_a_launch_names(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        sku, price, image = standard_sku(NOW, micros_per_gpu_hour=5)
        image, other_image = (replace(image, id=ImageId(fresh("img"))) for _ in range(2))
        sku = replace(sku, id=SkuId(fresh("sku")), image_ids=(image.id,))
        prices = [
            replace(price, id=fresh("prc"), sku_id=sku.id, starts_at=NOW + timedelta(days=days))
            for days in range(2)
        ]
        keys = [an_ssh_key(home.tenant.id, home.user.id) for _ in range(3)]
        node, task = a_node(), a_task(home.tenant.id, home.project.id)
        claims = [a_claim(home.tenant.id, node.id, 1 << bit) for bit in range(3)]
        states = (AllocationState.ACTIVE, AllocationState.REQUESTED, AllocationState.RELEASED)
        async with transactions.begin(PLATFORM) as unit:
            await unit.os_images.add(image)
            await unit.os_images.add(other_image)
            await unit.skus.add(sku)
            for each in prices:
                await unit.prices.add(each)
            for key in keys:
                await unit.ssh_keys.add(key)
            await unit.nodes.add(node)
            await unit.tasks.add(task)
            for claim, state, gpus in zip(claims, states, (1, 2, 4), strict=True):
                await unit.claims.add(claim)
                made = an_allocation(claim, task, home.user.id, state=state, gpu_count=gpus)
                await unit.allocations.add(made)
        names = LaunchNames(
            tenant_id=home.tenant.id,
            sku_id=sku.id,
            ssh_key_ids=[keys[0].id, keys[2].id, "nobody's"],
            saga=(fresh("kind"), ["one"]),
            live=LIVE,
        )

        async with transactions.begin(home.scope) as unit:
            found = await unit.allocations.of_launch(names)
            nothing = await unit.allocations.of_launch(
                replace(names, sku_id="none", ssh_key_ids=[], live=())
            )

        assert found.sku == sku
        assert found.images == {image.id: image}
        assert list(found.prices) == sorted(prices, key=lambda one: one.id)
        assert set(found.keys) == {keys[0], keys[2]}
        assert found.gpus_held == 3
        assert found.usual_seconds == {}
        assert (nothing.sku, nothing.images, nothing.prices, nothing.keys) == (None, {}, (), ())
        assert nothing.gpus_held == 0

    async def test_come_with_the_promises_of_one_pool(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        sku = replace(standard_sku(NOW, micros_per_gpu_hour=5)[0], id=SkuId(fresh("sku")))
        pools = [fresh("pool") for _ in range(2)]
        promises = [
            Promise.of(
                PlacementRequest(sku_id=sku.id, pool=pool, gpu_count=2, vcpus=1, memory_mib=1),
                promise_id=fresh("wtl"),
                user_id=home.user.id,
                project_id=home.project.id,
                until=NOW,
            )
            for pool in pools
        ]
        async with transactions.begin(PLATFORM) as unit:
            await unit.skus.add(sku)
            for promise in promises:
                await unit.promises.add(promise)

        async with transactions.begin(home.scope) as unit:
            start = await unit.fleet.changes(None, promised_in=pools[0])
            later = await unit.fleet.changes(start.mark, promised_in=pools[1])
            none = await unit.fleet.changes(start.mark)

        assert start.promises == (promises[0],)
        assert later.promises == (promises[1],)
        assert none.promises == ()
