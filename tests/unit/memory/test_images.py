"""The memory adapter keeps the contract of image sources."""

import pytest

from contracts.image_source import (
    DISK,
    MANIFEST,
    REGISTRY,
    SERVER,
    ImageSourceContract,
    at,
    named,
)
from gpucloud_adapters.memory.images import MemoryImageSource


class TestMemoryImageSource(ImageSourceContract):
    @pytest.fixture
    def source(self) -> MemoryImageSource:
        other = named(b"other")
        return MemoryImageSource(
            places={REGISTRY, SERVER},
            kept={
                f"{REGISTRY}/cuda/base@sha256:{reference.sha256}": MANIFEST
                for reference in (named(MANIFEST), other)
            }
            | {at("disk.qcow2", DISK).url: DISK, at("page.qcow2", b"").url: b"<html>"},
        )
