"""Terminals that customers open, and leave open, as the gateway keeps them.

It asks now and then whether they may stay; otherwise only their node ends them.
"""

import asyncio
from contextlib import suppress
from typing import Final

from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_adapters.memory.node_driver import MemoryShells
from gpucloud_core.access.model import Actor
from gpucloud_core.access.terminal_tokens import MintTerminalToken, RedeemTerminalToken
from gpucloud_core.allocations.terminal import (
    AdmitToTerminal,
    Holder,
    JudgeTerminals,
    OpenShell,
    OpenTerminal,
)
from gpucloud_core.kernel.errors import Conflict, Unavailable
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.nodes.ports import ShellSession

_ORIGIN: Final = "https://gpus.example"
_LOOK_SECONDS: Final = 300.0  # far apart: in life it is a few seconds


class Terminals:
    """Opens terminals in the slices of one cloud, and watches over them."""

    def __init__(self, cloud: MemoryCloud) -> None:
        transactions = cloud.transactions
        mint = MintTerminalToken(transactions=transactions, secrets=cloud.secrets)
        self._open = OpenTerminal(transactions=transactions, mint=mint)
        redeem = RedeemTerminalToken(transactions=transactions)
        self._admit = AdmitToTerminal(transactions=transactions, redeem=redeem)
        self._shell = OpenShell(shells=MemoryShells(cloud.driver))
        self._judge = JudgeTerminals(transactions=transactions)
        self._watches: set[asyncio.Task[None]] = set()

    async def open(self, actor: Actor, allocation_id: AllocationId) -> None:
        """Open a terminal, say something in it, and leave it to itself.

        Raises:
            DomainError: as the use cases say.
        """
        minted = await self._open(actor=actor, allocation_id=allocation_id, origin=_ORIGIN)
        admission = await self._admit(
            token=minted.token, allocation_id=allocation_id, origin=_ORIGIN
        )
        shell = await self._shell(admission, columns=80, rows=24)
        await shell.write(b"nvidia-smi -L\r")
        watch = asyncio.create_task(self._watch(admission.holder, shell))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def _watch(self, holder: Holder, shell: ShellSession) -> None:
        may_stay = True
        while may_stay and shell.exit_status is None:
            await asyncio.sleep(_LOOK_SECONDS)
            with suppress(Conflict, Unavailable):
                may_stay = holder not in await self._judge([holder])
        await shell.close()
