"""Where an image is kept, read from what names it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.catalog.images import ImageAsked, image_faults
from gpucloud_core.catalog.model import OsImage, Runtime
from gpucloud_core.catalog.references import (
    FileReference,
    OciReference,
    Reference,
    SeriesReference,
    reference_of,
)
from gpucloud_core.kernel.ids import ImageId
from gpucloud_core.kernel.time import EPOCH

HASH = "ab" * 32


def image(digest: str, runtime: Runtime) -> OsImage:
    return OsImage(
        id=ImageId("img_1"),
        name="n",
        version="1",
        runtime=runtime,
        username="ubuntu",
        digest=digest,
        created_at=EPOCH,
    )


@pytest.mark.parametrize(
    ("digest", "runtime", "expected"),
    [
        (
            f"registry.example/a/b@sha256:{HASH}",
            Runtime.CONTAINER,
            OciReference("registry.example", "a/b", HASH),
        ),
        (
            f"localhost:5000/a:1.2@sha256:{HASH}",
            Runtime.CONTAINER,
            OciReference("localhost:5000", "a", HASH),
        ),
        (
            f"ubuntu@sha256:{HASH}",
            Runtime.CONTAINER,
            OciReference("registry-1.docker.io", "library/ubuntu", HASH),
        ),
        (
            f"nvidia/cuda@sha256:{HASH}",
            Runtime.CONTAINER,
            OciReference("registry-1.docker.io", "nvidia/cuda", HASH),
        ),
        (
            f"https://i.example/u.qcow2#sha256={HASH}",
            Runtime.VM,
            FileReference("https://i.example/u.qcow2", HASH),
        ),
        ("noble", Runtime.BARE_METAL, SeriesReference("noble")),
        *(("", runtime, None) for runtime in Runtime),
    ],
)
def test_says_where_it_is_and_what_it_must_be(
    digest: str, runtime: Runtime, expected: Reference | None
) -> None:
    assert reference_of(image(digest, runtime)) == expected


@given(name=st.from_regex(r"[a-z0-9][a-z0-9.:/_-]{0,60}", fullmatch=True))
def test_finds_a_place_in_every_name_that_is_taken(name: str) -> None:
    digest = f"{name}@sha256:{HASH}"
    asked = ImageAsked(
        name="n", version="1", runtime=Runtime.CONTAINER, username="ubuntu", digest=digest
    )
    assert not list(image_faults(asked))

    found = reference_of(image(digest, Runtime.CONTAINER))

    assert isinstance(found, OciReference)
    assert found.sha256 == HASH
    assert found.registry
