"""Anchors of the audit chain in a list."""

from gpucloud_core.audit.chain import Anchor


class MemoryAnchors:
    """What was kept, oldest first, in ``kept``."""

    def __init__(self) -> None:
        self.kept: list[Anchor] = []

    async def keep(self, anchor: Anchor) -> None:
        self.kept.append(anchor)

    async def last(self) -> Anchor | None:
        return self.kept[-1] if self.kept else None
