"""SSH keys: the person's own public halves."""

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from gpucloud_core.access.ssh_keys import AddSshKey, DeleteSshKey, ListSshKeys
from gpucloud_core.kernel.errors import DomainError, NotFound
from gpucloud_core.kernel.ids import SshKeyId, parse_id
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_web.pages.access_rows import KEYS, NO_KEYS, KeyDeletePage, KeysPage, key_row
from gpucloud_web.pages.forms import form_faults, refused
from gpucloud_web.pages.list_page import listed
from gpucloud_web.pages.rendered import own_address, see_other
from gpucloud_web.pages.visit import Visit, form_of, one, provide_visit
from gpucloud_web.tables import ListView

ALL = ListQuery(limit=100)


async def _list(visit: Visit, list_ssh_keys: ListSshKeys) -> ListView:
    return await listed(
        visit,
        "/access/ssh-keys",
        KEYS,
        ask=lambda query: list_ssh_keys(actor=visit.actor, query=query),
        row=lambda key: key_row(key, visit.now, visit.zone),
        empty=NO_KEYS,
    )


class KeyPages(Controller):
    path = "/access/ssh-keys"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}

    @get()
    async def index(
        self, visit: NamedDependency[Visit], list_ssh_keys: FromDishka[ListSshKeys]
    ) -> Response[str]:
        """List the keys, beside the form that adds one."""
        keys = await _list(visit, list_ssh_keys)
        address = own_address(visit.request.query_params.get("next", ""), "")
        view = KeysPage.of(keys, next_address=address)
        return visit.page("access/ssh_keys.html", view)

    @post(status_code=303)
    async def add(
        self,
        visit: NamedDependency[Visit],
        add_ssh_key: FromDishka[AddSshKey],
        list_ssh_keys: FromDishka[ListSshKeys],
    ) -> Response[str] | Redirect:
        """Add a key and go back to where it was needed."""
        form = await form_of(visit.request)
        name, public_key = one(form, "name"), one(form, "public_key")
        address = own_address(one(form, "next"), "")
        try:
            await add_ssh_key(actor=visit.actor, name=name, public_key=public_key)
        except DomainError as error:
            keys = await _list(visit, list_ssh_keys)
            view = KeysPage.of(
                keys,
                name=name,
                public_key=public_key,
                next_address=address,
                errors=form_faults(error),
            )
            return refused(visit, "access/ssh_keys.html", view, error)
        return see_other(address or "/access/ssh-keys")

    @get("/{key_id:str}/delete")
    async def ask_delete(
        self,
        key_id: FromPath[str],
        visit: NamedDependency[Visit],
        list_ssh_keys: FromDishka[ListSshKeys],
    ) -> Response[str]:
        """Say what deleting a key means, before it is done."""
        keys = await list_ssh_keys(actor=visit.actor, query=ALL)
        key = next((each for each in keys.items if each.id == key_id), None)
        if key is None:
            raise NotFound("There is no SSH key with this id.")
        return visit.page("access/ssh_key_delete.html", KeyDeletePage.of(key))

    @post("/{key_id:str}/delete", status_code=303)
    async def delete(
        self,
        key_id: FromPath[str],
        visit: NamedDependency[Visit],
        delete_ssh_key: FromDishka[DeleteSshKey],
    ) -> Redirect:
        """Delete a key."""
        await delete_ssh_key(actor=visit.actor, key_id=SshKeyId(parse_id("key", key_id)))
        return see_other("/access/ssh-keys")
