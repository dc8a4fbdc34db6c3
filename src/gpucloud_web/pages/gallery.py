"""The gallery of components; on where parts are simulated, absent where everything is real."""

from litestar import Response, get
from litestar.exceptions import NotFoundException

from gpucloud_web.gallery import GalleryPage
from gpucloud_web.pages.rendered import drawn, site_of
from gpucloud_web.pages.visit import PageRequest


@get("/_gallery", include_in_schema=False)
async def gallery(request: PageRequest) -> Response[str]:
    """Draw every component with every example."""
    site = site_of(request)
    if not site.simulated:
        raise NotFoundException
    return drawn(request, "gallery/index.html", GalleryPage.of(site.renderer.env))
