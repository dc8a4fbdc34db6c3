"""The menu holds every page of the product, marks where one is, and hides what is not for one."""

from hypothesis import given
from hypothesis import strategies as st

from gpucloud_web.menu import menu
from gpucloud_web.navigation import GRANTED_BY, GROUPS, PAGES, ROLE_WORDS, Audience, current_page

EVERYONE = frozenset(Audience)


class TestTable:
    def test_has_the_groups_and_pages_of_the_product(self) -> None:
        titles = {group.title: [page.title for page in group.pages] for group in GROUPS}

        assert titles == {
            "Overview": ["Home", "Billing & Usage"],
            "Workloads": ["Active", "Needs attention"],
            "Infrastructure": ["Catalog", "Allocations", "Storage"],
            "Apps": ["Browse & Deploy", "Artifacts"],
            "Access": ["Projects", "Team", "SSH Keys", "API Keys", "Policies"],
            "Developer": ["Docs", "Downloads", "API Docs"],
            "Ops": ["Attention", "Telemetry"],
            "Admin": [
                "Dashboard",
                "Nodes",
                "SKUs",
                "OS Images",
                "Allocations",
                "Quotas",
                "Users",
                "Audit Logs",
                "MAAS",
                "Payment Sessions",
            ],
        }

    def test_says_of_each_page_what_it_does(self) -> None:
        assert all(page.will_do.endswith(".") for page in PAGES.values())

    def test_gives_each_key_to_one_page(self) -> None:
        jumps = [page.jump for page in PAGES.values() if page.jump]

        assert len(jumps) == len(set(jumps))

    def test_says_who_each_audience_is_and_who_grants_it(self) -> None:
        assert set(ROLE_WORDS) == set(GRANTED_BY) == set(Audience)


class TestMenu:
    @given(here=st.sampled_from(sorted(PAGES)))
    def test_marks_exactly_the_page_one_is_on(self, here: str) -> None:
        groups = menu(here=here, audiences=EVERYONE, counts={})
        current = [item for group in groups for item in group.items if item.current]

        assert [item.path for item in current] == [here]
        assert all(group.open for group in groups if any(item.current for item in group.items))

    def test_marks_the_list_while_one_looks_at_a_detail(self) -> None:
        found = current_page("/infra/allocations/alc_1?tab=cost")

        assert found is PAGES["/infra/allocations"]
        assert current_page("/workloads?view=attention") is PAGES["/workloads?view=attention"]
        assert current_page("/tasks/tsk_1") is None

    @given(audiences=st.frozensets(st.sampled_from(Audience)))
    def test_shows_nothing_that_is_not_for_one(self, audiences: frozenset[Audience]) -> None:
        groups = menu(here="/", audiences=audiences, counts={})
        shown = {item.path for group in groups for item in group.items}

        assert shown == {path for path, page in PAGES.items() if page.audience in audiences}
        assert all(group.items for group in groups)

    def test_counts_what_runs_and_what_needs_a_person(self) -> None:
        groups = menu(here="/", audiences=EVERYONE, counts={"active": 1_204, "attention": 2})
        items = {item.path: item for group in groups for item in group.items}

        assert items["/workloads"].count == "1,204"
        assert items["/workloads?view=attention"].hot
        assert not items["/workloads"].hot
