"""How the library's requests are sent: by httpx, in the way that httpx asks for today."""

from collections.abc import Mapping
from typing import Any

import stripe


class HttpClient(stripe.HTTPXClient):
    """Stripe's httpx client, which hands over a body as httpx 0.28 wants it.

    The library passes the encoded body as ``data``, which httpx deprecates for text and bytes. A
    release of the library that no longer needs this shows nothing but this class unused.
    """

    def _get_request_args_kwargs(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any
    ) -> Any:
        arguments, options = super()._get_request_args_kwargs(method, url, headers, post_data)
        options["content"] = options.pop("data") or None
        return arguments, options
