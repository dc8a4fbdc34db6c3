"""The pages of images: named by content, verified by reading it, and missed by what offers it.

Seen to fail when another content passed as verified, when a place that did not answer counted as
a failed verification, and when another operator could not read the task.
"""

from datetime import timedelta
from hashlib import sha256
from typing import Final

import pytest

from gpucloud_adapters.stored.kinds import OS_IMAGES
from gpucloud_core.access.model import PlatformRole
from gpucloud_core.catalog.model import ImageTrust, OsImage
from gpucloud_core.catalog.ports import ImageUnreachable
from page_visitor import PageVisitor, launched
from world.operator_pages import as_operator

LIST: Final = "/admin/os-images"
MANIFEST: Final = b'{"schemaVersion": 2}'
DISK: Final = b"QFI\xfb and the rest"


@pytest.fixture
async def olga(visitor: PageVisitor) -> PageVisitor:
    return await as_operator(visitor)


def images(olga: PageVisitor) -> dict[str, OsImage]:
    return {row.name: row for row in olga.cloud.transactions.database.rows(OS_IMAGES)}


async def put(olga: PageVisitor, path: str, action: str = "", **fields: object) -> str:
    asked = await olga.get(path)
    answer = await olga.submit(asked, action or path, fields)
    return (await olga.follow(answer)).text if answer.status_code == 303 else answer.text


async def add(olga: PageVisitor, digest: str, runtime: str = "container") -> str:
    """Add an image and return its page's address."""
    fields = {"name": "CUDA", "version": "13", "username": "ubuntu", "summary": ""}
    await put(olga, f"{LIST}/new", runtime=runtime, digest=digest, **fields)
    return f"{LIST}/{images(olga)['CUDA'].id}"


async def verified(olga: PageVisitor, place: str) -> str:
    """Verify it, let the worker do it, and return the image's page."""
    await put(olga, place, f"{place}/verify")
    await olga.cloud.pass_time(timedelta(minutes=5))
    return (await olga.get(place)).text


def kept(olga: PageVisitor, content: bytes, *, named: bytes | None = None) -> str:
    """Keep a manifest in a registry and return what names it; ``named`` says something else."""
    digest = sha256(content if named is None else named).hexdigest()
    olga.cloud.images.places.add("registry.example")
    olga.cloud.images.kept[f"registry.example/cuda@sha256:{digest}"] = content
    return f"registry.example/cuda@sha256:{digest}"


class TestImagePages:
    async def test_add_one_by_its_digest(self, olga: PageVisitor) -> None:
        place = await add(olga, f"registry.example/cuda@sha256:{'0' * 64}")
        page = (await olga.get(place)).text

        assert "Unverified" in page
        assert "No SKU names it yet" in page
        assert "CUDA 13" in (await olga.get(LIST)).text

    async def test_say_how_it_has_to_be_named(self, olga: PageVisitor) -> None:
        fields = {"name": "CUDA", "version": "13", "username": "ubuntu", "runtime": "container"}
        shown = await put(olga, f"{LIST}/new", digest="cuda:latest", **fields)

        assert "Use an OCI image by its digest" in shown
        assert 'value="cuda:latest"' in shown

    async def test_call_it_otherwise_and_leave_its_content(self, olga: PageVisitor) -> None:
        place = await add(olga, f"registry.example/cuda@sha256:{'0' * 64}")
        fields = {"name": "CUDA toolkit", "version": "13.1", "summary": "A compiler."}

        await put(olga, f"{place}/edit", **fields)

        changed = images(olga)["CUDA toolkit"]
        assert (changed.version, changed.summary) == ("13.1", "A compiler.")
        assert changed.digest.endswith("0" * 64)

    async def test_name_what_would_miss_it(self, olga: PageVisitor) -> None:
        await launched(olga)
        await olga.cloud.work()
        place = f"{LIST}/{images(olga)['Ubuntu'].id}"
        asked = (await olga.get(f"{place}/withhold")).text
        assert "1 allocation stays on it as it is." in asked
        assert "nothing more can be launched there" in asked

        shown = await put(olga, f"{place}/withhold")

        assert "Nothing can be launched on H200 SXM 141 GB" in shown
        assert "Offered" in await put(olga, f"{place}/offer")


class TestVerification:
    async def test_finds_what_the_image_is_named_by(self, olga: PageVisitor) -> None:
        page = await verified(olga, await add(olga, kept(olga, MANIFEST)))

        assert "What is kept there is what the image is named by." in page
        found = images(olga)["CUDA"]
        assert (found.trust, found.size_bytes) == (ImageTrust.VERIFIED, len(MANIFEST))
        assert found.trust_at is not None

    async def test_finds_another_content(self, olga: PageVisitor) -> None:
        page = await verified(olga, await add(olga, kept(olga, MANIFEST, named=b"before")))

        assert "another content" in page
        assert images(olga)["CUDA"].trust is ImageTrust.FAILED

    async def test_reads_a_disk_image_as_it_stands(self, olga: PageVisitor) -> None:
        olga.cloud.images.places.add("images.example")
        for content, trust in ((DISK, ImageTrust.VERIFIED), (b"MZ", ImageTrust.FAILED)):
            url = f"https://images.example/{trust}.qcow2"
            olga.cloud.images.kept[url] = content
            digest = f"{url}#sha256={sha256(content).hexdigest()}"
            fields = {"name": f"VM {trust}", "version": "1", "username": "ubuntu"}
            await put(olga, f"{LIST}/new", runtime="vm", digest=digest, **fields)

            await verified(olga, f"{LIST}/{images(olga)[f'VM {trust}'].id}")

            assert images(olga)[f"VM {trust}"].trust is trust

    async def test_reads_from_declared_places_alone(self, olga: PageVisitor) -> None:
        page = await verified(olga, await add(olga, f"elsewhere.example/cuda@sha256:{'0' * 64}"))

        assert "none of the places that images are read from" in page
        assert "Verification failed" in page

    async def test_knows_nothing_of_what_does_not_answer(self, olga: PageVisitor) -> None:
        place = await add(olga, kept(olga, MANIFEST))
        olga.cloud.images.trouble = ImageUnreachable("registry.example did not answer.")

        page = await verified(olga, place)

        assert images(olga)["CUDA"].trust is ImageTrust.UNVERIFIED
        assert "registry.example did not answer." in page

    async def test_needs_something_to_compare_with(self, olga: PageVisitor) -> None:
        place = await add(olga, "noble", "bare_metal")
        page = (await olga.get(place)).text

        assert "no MAAS is connected" in page
        assert "Verify now" not in page

    async def test_is_followed_by_every_operator_and_nobody_else(self, olga: PageVisitor) -> None:
        place = await add(olga, kept(olga, MANIFEST))
        asked = await olga.get(place)
        answer = await olga.submit(asked, f"{place}/verify", {})
        task = answer.headers["location"]
        seen = {}
        for name, role in (
            ("otto", PlatformRole.ADMIN),
            ("opal", PlatformRole.OPS),
            ("bill", PlatformRole.BILLING_OPERATOR),
        ):
            other = PageVisitor(olga.cloud, olga.client)
            await as_operator(other, name, role)
            seen[name] = (await other.get(task)).status_code
        eve = await PageVisitor(olga.cloud, olga.client).arrive("eve")
        seen["eve"] = (await eve.get(task)).status_code

        assert seen == {"otto": 200, "opal": 404, "bill": 404, "eve": 404}
        assert "Verify CUDA 13" in (await olga.get(task)).text
