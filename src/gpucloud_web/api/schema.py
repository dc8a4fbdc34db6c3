"""The OpenAPI document, at the address the product promises."""

from litestar import Request, Response, get
from litestar.datastructures import State


@get("/openapi.json", include_in_schema=False)
async def openapi_document(request: Request[object, object, State]) -> Response[object]:
    """Return the OpenAPI 3.1 document of every operation."""
    return Response(request.app.openapi_schema.to_schema(), media_type="application/json")
