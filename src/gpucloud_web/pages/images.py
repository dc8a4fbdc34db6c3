"""Admin, OS Images: what can be booted, what it is named by, and whether that is so."""

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from gpucloud_core.catalog.images import AddImage, ChangeImage, ImageAsked, ImageChanges
from gpucloud_core.catalog.model import Runtime
from gpucloud_core.catalog.queries import ListAllImages
from gpucloud_core.fleet.sold import ReadImageInUse
from gpucloud_core.fleet.verify_image import VerifyImage
from gpucloud_core.kernel.errors import DomainError, FieldError, ValidationFailed
from gpucloud_core.kernel.ids import ImageId, parse_id
from gpucloud_web.pages.forms import form_faults, refused, submitted
from gpucloud_web.pages.image_rows import (
    IMAGES,
    NO_IMAGES,
    PATH,
    ImageForm,
    ImagePage,
    image_row,
    offer_act,
    where_of,
)
from gpucloud_web.pages.insiders import INSIDERS, provide_insider
from gpucloud_web.pages.list_page import ListPage, listed
from gpucloud_web.pages.rendered import see_other
from gpucloud_web.pages.visit import Form, Visit, form_of, fresh_key, one

OFFERS = ("withhold", "offer")


def _id(text: str) -> ImageId:
    return ImageId(parse_id("img", text))


def _address(image_id: str) -> str:
    return f"{PATH}/{image_id}"


def _asked_of(form: Form) -> ImageAsked:
    """Return the image that a form describes.

    Raises:
        ValidationFailed: the runtime is none.
    """
    runtime = one(form, "runtime")
    if runtime not in set(Runtime):
        detail = "Choose one of the runtimes."
        raise ValidationFailed(detail, fields=[FieldError("/runtime", "unknown", detail)])
    return ImageAsked(
        name=one(form, "name"),
        version=one(form, "version"),
        runtime=Runtime(runtime),
        username=one(form, "username").strip(),
        digest=one(form, "digest").strip(),
        summary=one(form, "summary").strip(),
    )


class ImagePages(Controller):
    path = PATH
    include_in_schema = False
    dependencies = {"visit": Provide(provide_insider)}
    exception_handlers = INSIDERS

    @get()
    async def index(
        self, visit: NamedDependency[Visit], list_images: FromDishka[ListAllImages]
    ) -> Response[str]:
        """List what can be booted, and what could."""
        images = await listed(
            visit,
            PATH,
            IMAGES,
            ask=lambda query: list_images(actor=visit.actor, query=query),
            where=where_of,
            row=lambda image: image_row(image, visit.now, visit.zone),
            empty=NO_IMAGES,
        )
        return visit.page(
            "lists/index.html",
            ListPage(
                title="OS Images",
                list=images,
                sub="What runs on a slice when it starts, named by its content.",
                primary="Add image",
                primary_href=f"{PATH}/new",
            ),
        )

    @get("/new")
    async def ask_add(self, visit: NamedDependency[Visit]) -> Response[str]:
        """Ask for an image and what it is named by."""
        return visit.page("images/form.html", ImageForm.of(key=fresh_key()))

    @post("/new", status_code=303)
    async def add(
        self, visit: NamedDependency[Visit], add_image: FromDishka[AddImage]
    ) -> Response[str] | Redirect:
        """Make it known."""
        form = await form_of(visit.request)

        async def add() -> str:
            return (await add_image(actor=visit.actor, asked=_asked_of(form))).id

        async def again(error: DomainError) -> Response[str]:
            page = ImageForm.of(key=fresh_key(), form=form, errors=form_faults(error))
            return refused(visit, "images/form.html", page, error)

        return await submitted(visit, form, add, to=_address, again=again)

    @get("/{image_id:str}")
    async def show(
        self,
        image_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_image: FromDishka[ReadImageInUse],
    ) -> Response[str]:
        """Show one with what uses it, and whether it is what it is named by."""
        used = await read_image(actor=visit.actor, image_id=_id(image_id))
        page = ImagePage.of(used, visit.zone, key=fresh_key())
        return visit.page("images/detail.html", page)

    @get("/{image_id:str}/edit")
    async def ask_change(
        self,
        image_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_image: FromDishka[ReadImageInUse],
    ) -> Response[str]:
        """Ask how it is to be called."""
        image = (await read_image(actor=visit.actor, image_id=_id(image_id))).image
        return visit.page("images/form.html", ImageForm.of(key=fresh_key(), image=image))

    @post("/{image_id:str}/edit", status_code=303)
    async def change(
        self,
        image_id: FromPath[str],
        visit: NamedDependency[Visit],
        change_image: FromDishka[ChangeImage],
        read_image: FromDishka[ReadImageInUse],
    ) -> Response[str] | Redirect:
        """Call it otherwise."""
        form = await form_of(visit.request)
        changes = ImageChanges(
            name=one(form, "name"), version=one(form, "version"), summary=one(form, "summary")
        )

        async def change() -> str:
            changed = await change_image(actor=visit.actor, image_id=_id(image_id), changes=changes)
            return changed.id

        async def again(error: DomainError) -> Response[str]:
            image = (await read_image(actor=visit.actor, image_id=_id(image_id))).image
            page = ImageForm.of(key=fresh_key(), image=image, form=form, errors=form_faults(error))
            return refused(visit, "images/form.html", page, error)

        return await submitted(visit, form, change, to=_address, again=again)

    @get([f"/{{image_id:str}}/{act}" for act in OFFERS])
    async def ask_offer(
        self,
        image_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_image: FromDishka[ReadImageInUse],
    ) -> Response[str]:
        """Say what offering it no longer means, or again."""
        used = await read_image(actor=visit.actor, image_id=_id(image_id))
        page = offer_act(used, visit.last_part, key=fresh_key())
        return visit.page("skus/confirm.html", page)

    @post([f"/{{image_id:str}}/{act}" for act in OFFERS], status_code=303)
    async def offer(
        self,
        image_id: FromPath[str],
        visit: NamedDependency[Visit],
        change_image: FromDishka[ChangeImage],
    ) -> Redirect:
        """Offer it no longer, or again."""
        form = await form_of(visit.request)
        changes = ImageChanges(active=visit.last_part == "offer")

        async def change() -> str:
            changed = await change_image(actor=visit.actor, image_id=_id(image_id), changes=changes)
            return changed.id

        await visit.once(one(form, "idempotency_key"), change)
        return see_other(f"{PATH}/{image_id}")

    @post("/{image_id:str}/verify", status_code=303)
    async def verify(
        self,
        image_id: FromPath[str],
        visit: NamedDependency[Visit],
        verify_image: FromDishka[VerifyImage],
    ) -> Redirect:
        """Read it from where it is kept, and follow the task."""
        form = await form_of(visit.request)

        async def verify() -> str:
            return await verify_image(actor=visit.actor, image_id=_id(image_id))

        task_id = await visit.once(one(form, "idempotency_key"), verify)
        return see_other(f"/tasks/{task_id}")
