"""Views that people keep: their own, named apart, bounded, whatever is typed.

Seen to fail when names were compared as they were typed, when one's limit counted everybody's
views, and when a view was found by its id alone.
"""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_builders import AccessWorld
from gpucloud_core.access.model import Actor
from gpucloud_core.access.saved_views import (
    NAME_MAX,
    VIEWS_MAX,
    ChangeView,
    DeleteView,
    ListViews,
    SaveView,
    TooManyViews,
    view_columns,
    view_name,
    view_query,
)
from gpucloud_core.kernel.errors import AlreadyExists, NotFound, ValidationFailed

LIST = "workloads"


@pytest.fixture
def world() -> AccessWorld:
    return AccessWorld()


@pytest.fixture
async def ada(world: AccessWorld) -> Actor:
    return await world.actor("ada")


def saving(world: AccessWorld) -> SaveView:
    return SaveView(transactions=world.transactions, ids=world.ids)


async def names(world: AccessWorld, actor: Actor, of: str | None = LIST) -> list[str]:
    found = await ListViews(transactions=world.transactions)(actor=actor, of=of)
    return [view.name for view in found]


class TestViewName:
    @given(text=st.text(max_size=2 * NAME_MAX))
    def test_is_one_line_that_can_be_seen_or_is_refused(self, text: str) -> None:
        try:
            name = view_name(text)
        except ValidationFailed:
            return

        assert 1 <= len(name) <= NAME_MAX
        assert view_name(name) == name
        assert not any(unicodedata.category(c)[0] in "CZ" and c != " " for c in name)

    @given(said=st.dictionaries(st.text(max_size=4), st.text(max_size=250), max_size=25))
    def test_query_is_what_an_address_can_hold_or_is_refused(self, said: dict[str, str]) -> None:
        try:
            query = view_query(said)
        except ValidationFailed:
            return

        assert all(name.isidentifier() and 0 < len(value) <= 200 for name, value in query.items())
        assert query.items() <= said.items()

    def test_columns_are_names_each_once(self) -> None:
        assert view_columns(["cost", "cost", "node"]) == ("cost", "node")
        assert view_columns(None) is None
        with pytest.raises(ValidationFailed):
            view_columns(["<script>"])


class TestViews:
    async def test_are_kept_renamed_and_forgotten(self, world: AccessWorld, ada: Actor) -> None:
        save = saving(world)
        view = await save(actor=ada, of=LIST, name=" Mine  now ", query={"by": "me", "q": ""})
        other = await save(actor=ada, of="nodes", name="Mine now", query={})
        change = ChangeView(transactions=world.transactions)

        renamed = await change(actor=ada, view_id=view.id, name="mine Now", columns=["cost"])

        assert (renamed.name, renamed.query, renamed.columns) == (
            "mine Now",
            {"by": "me"},
            ("cost",),
        )
        assert await names(world, ada) == ["mine Now"]
        assert await names(world, ada, None) == ["mine Now", "Mine now"]
        await DeleteView(transactions=world.transactions)(actor=ada, view_id=view.id)
        assert await names(world, ada, None) == [other.name]
        told = [len(await world.audited(f"view.{verb}")) for verb in ("save", "change", "delete")]
        assert told == [2, 1, 1]

    @pytest.mark.parametrize(
        "twin", ["NIGHTLY", " nightly ", "\N{FULLWIDTH LATIN SMALL LETTER N}ightly"]
    )
    async def test_have_names_apart(self, world: AccessWorld, ada: Actor, twin: str) -> None:
        save = saving(world)
        await save(actor=ada, of=LIST, name="nightly", query={})
        other = await save(actor=ada, of=LIST, name="daily", query={})

        with pytest.raises(AlreadyExists) as refusal:
            await save(actor=ada, of=LIST, name=twin, query={})
        with pytest.raises(AlreadyExists):
            await ChangeView(transactions=world.transactions)(
                actor=ada, view_id=other.id, name=twin
            )

        assert refusal.value.fields[0].field == "/name"
        assert await names(world, ada) == ["nightly", "daily"]

    async def test_are_only_so_many_of_a_list(self, world: AccessWorld, ada: Actor) -> None:
        save, bob = saving(world), await world.actor("bob")
        for number in range(VIEWS_MAX):
            await save(actor=ada, of=LIST, name=f"{number}", query={})

        with pytest.raises(TooManyViews):
            await save(actor=ada, of=LIST, name="one more", query={})

        await save(actor=ada, of="nodes", name="another list", query={})
        await save(actor=bob, of=LIST, name="another person", query={})

    async def test_are_nobody_elses(self, world: AccessWorld, ada: Actor) -> None:
        bob = await world.actor("bob")
        view = await saving(world)(actor=ada, of=LIST, name="hers", query={})
        stranger = Actor(
            user_id=bob.user_id,
            username="bob",
            tenant_id=ada.tenant_id,
            tenant_role=ada.tenant_role,
        )

        for who in (bob, stranger):  # of another tenant, and a colleague in the same one
            assert await names(world, who) == []
            with pytest.raises(NotFound):
                await ChangeView(transactions=world.transactions)(
                    actor=who, view_id=view.id, name="his"
                )
            with pytest.raises(NotFound):
                await DeleteView(transactions=world.transactions)(actor=who, view_id=view.id)
        assert await names(world, ada) == ["hers"]
