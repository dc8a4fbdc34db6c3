"""The catalog page."""

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get
from litestar.di import NamedDependency, Provide

from gpucloud_core.allocations.catalog import ListImages, ReadCatalog
from gpucloud_web.pages.catalog_rows import CatalogPage
from gpucloud_web.pages.visit import Visit, provide_visit


class CatalogPages(Controller):
    path = "/infra/catalog"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}

    @get()
    async def index(
        self,
        visit: NamedDependency[Visit],
        read_catalog: FromDishka[ReadCatalog],
        list_images: FromDishka[ListImages],
    ) -> Response[str]:
        """Show what can be launched now."""
        view = CatalogPage.of(
            await read_catalog(actor=visit.actor),
            await list_images(actor=visit.actor),
            now=visit.now,
            zone=visit.zone,
        )
        return visit.page("catalog/index.html", view)
