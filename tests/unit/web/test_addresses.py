"""The address is the state of a list: it reads leniently, names what it drops, and writes back."""

from urllib.parse import parse_qs, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.kernel.rows import Page
from gpucloud_web.pages.addresses import ListState, address
from gpucloud_web.pages.rendered import own_address

VIEWS = ("all", "active")
SORTS = ("-id", "id", "name", "-name")
queries = st.dictionaries(
    st.sampled_from(("view", "q", "sort", "limit", "cursor", "strange")),
    st.sampled_from(("all", "active", "-id", "name", "50", "7", "x y&z", "")) | st.text(max_size=8),
)


def state_of(query: dict[str, str]) -> ListState:
    return ListState.of("/workloads", query, views=VIEWS, sorts=SORTS)


def _query(href: str) -> dict[str, str]:
    found = parse_qs(urlsplit(href).query, keep_blank_values=True)
    return {name: values[0] for name, values in found.items()}


class TestListState:
    @given(query=queries)
    def test_never_fails_and_always_asks_for_something_that_exists(
        self, query: dict[str, str]
    ) -> None:
        state = state_of(query)

        assert state.view in VIEWS
        assert state.sort in SORTS
        assert state.limit in {25, 50, 100}

    @given(query=queries)
    def test_writes_an_address_that_reads_as_itself(self, query: dict[str, str]) -> None:
        state = state_of(query)
        again = state_of(_query(state.with_(cursor=state.cursor)))

        assert (again.view, again.search, again.sort, again.cursor, again.limit) == (
            state.view,
            state.search,
            state.sort,
            state.cursor,
            state.limit,
        )
        assert again.dropped == ()

    def test_names_what_it_dropped(self) -> None:
        state = state_of({"view": "gone", "sort": "size", "limit": "7"})

        assert state.notice() == "Ignored in the address: limit, view, sort."
        assert state_of({}).notice() == ""

    def test_begins_a_new_page_when_something_changes(self) -> None:
        state = state_of({"cursor": "abc", "view": "active"})

        assert "cursor" not in _query(state.with_(sort="name"))
        assert _query(state.head("Name", "name").href)["view"] == "active"

    def test_turns_a_sorted_column_round(self) -> None:
        newest = state_of({}).head("Launched", "id")

        assert newest.order == "descending"
        assert state_of(_query(newest.href)).head("Launched", "id").order == "ascending"

    def test_leads_to_the_neighbouring_pages(self) -> None:
        pager = state_of({}).pager(Page(items=("a",), next_cursor="n"), "workloads")

        assert pager.shown == "1 workload on this page"
        assert _query(pager.older)["cursor"] == "n"
        assert pager.newer == ""


class TestOwnAddress:
    @given(text=st.text())
    def test_never_leads_away(self, text: str) -> None:
        found = own_address(text)

        assert found.startswith("/")
        assert not found.startswith("//")
        assert "\\" not in found

    def test_keeps_ours_and_drops_others(self) -> None:
        assert own_address("/workloads?view=active") == "/workloads?view=active"
        for away in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:1"):
            assert own_address(away) == "/"

    def test_leaves_out_what_says_nothing(self) -> None:
        assert address("/launch", sku="", step="review", count=None) == "/launch?step=review"
