"""Where the private key of a node is kept: sealed, and found by its name."""

import re
from typing import Final

from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.secret_box import SecretPlace

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def credential_place(name: str) -> SecretPlace:
    """Return the place of the private key called ``name``.

    Raises:
        NotFound: nothing can have that name.
    """
    if not _NAME.fullmatch(name):
        raise NotFound("There is no credential of this name.")
    return SecretPlace(row=f"credential/{name}", field="private_key")
