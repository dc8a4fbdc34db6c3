"""Private keys of nodes, sealed in the database."""

from dataclasses import dataclass

from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.secret_box import SecretBox, SecretUnit
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.credentials import credential_place


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxedCredentials:
    """Looks a private key up by its name, and opens it."""

    transactions: Transactions[SecretUnit]
    box: SecretBox

    async def __call__(self, name: str) -> str:
        """Return the private key called ``name``.

        Raises:
            NotFound: there is none.
            SecretUnreadable: it cannot be opened.
        """
        place = credential_place(name)
        async with self.transactions.begin(Scope.platform()) as unit:
            sealed = await unit.secrets.get(place.id)
        if sealed is None:
            raise NotFound(f"There is no credential called {name}.")
        return await self.box.open(place, sealed)

    async def keep(self, name: str, private_key: str) -> None:
        """Store a private key under ``name``, replacing what was there."""
        place = credential_place(name)
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
            sealed = await self.box.seal(place, private_key, now)
            if await unit.secrets.lock(place.id) is None:
                await unit.secrets.add(sealed)
            else:
                await unit.secrets.put(sealed)
