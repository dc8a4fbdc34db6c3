"""Pages for people, without JavaScript, over a cloud in memory: the journey and its refusals."""

import re
from datetime import timedelta

import pytest

from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_core.kernel.unit import Scope
from gpucloud_web.navigation import PAGES, Audience, Maturity
from page_visitor import PageVisitor, heading_of, launched, links, title_of, workload_in

LONG = "x" * 200
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE6qI5p5r1m9yBkqgYw9uA8yYk6qk3nJxk1Jf8xkqX3b desk"
STRANGE = ("مُدرَّب-70b", "🚀 sweep <b>&amp;", LONG)


class TestSigningIn:
    async def test_leads_to_the_page_one_asked_for(self, visitor: PageVisitor) -> None:
        asked = await visitor.get("/workloads?view=active")
        assert asked.headers["location"] == "/login?next=%2Fworkloads%3Fview%3Dactive"
        await visitor.sign_up("ada")
        await visitor.post("/logout", {})
        assert not visitor.is_signed_in

        form = await visitor.get(asked.headers["location"])
        fields = {"username": "ada", "password": "ada's long password"}
        answer = await visitor.submit(form, "/login", fields)

        assert answer.headers["location"] == "/workloads?view=active"
        assert visitor.is_signed_in

    async def test_never_leads_to_another_site(self, visitor: PageVisitor) -> None:
        await visitor.sign_up("ada")
        fields = {"username": "ada", "password": "ada's long password", "next": "//evil.example"}

        assert (await visitor.post("/login", fields)).headers["location"] == "/"

    async def test_keeps_the_name_and_says_why_it_failed(self, visitor: PageVisitor) -> None:
        answer = await visitor.post("/login", {"username": "ada", "password": "wrong"})

        assert answer.status_code == 401
        assert 'value="ada"' in answer.text
        assert "The username or the password is not right." in answer.text
        assert "wrong" not in answer.text

    async def test_names_each_field_that_will_not_do(self, visitor: PageVisitor) -> None:
        answer = await visitor.post("/login/new", {"username": "a", "password": "short"})

        assert answer.status_code == 422
        assert answer.text.count('aria-invalid="true"') == 2

    async def test_has_work_and_personal_apart(self, visitor: PageVisitor) -> None:
        work = await visitor.get("/login?tab=work")

        assert "Continue with SSO" in work.text
        assert 'name="password"' not in work.text


class TestMenu:
    async def test_has_no_dead_link(self, visitor: PageVisitor) -> None:
        await visitor.arrive()

        for path, page in PAGES.items():
            answer = await visitor.get(path)
            mine = page.audience is Audience.MEMBER
            assert answer.status_code == (200 if mine else 403), path
            assert title_of(answer.text).endswith("· gpucloud")
            assert heading_of(answer.text)
            if page.maturity is Maturity.COMING and mine:
                assert page.will_do in answer.text.replace("&#39;", "'")

    async def test_says_who_may_see_a_restricted_page(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        answer = await visitor.get("/admin/nodes/nod_1")

        assert answer.status_code == 403
        assert "a platform admin" in answer.text
        assert "/admin/nodes" not in links(answer.text)

    async def test_leads_nowhere_that_is_not_there(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        home = await visitor.get("/")

        for link in sorted(links(home.text)):
            if link.startswith("/"):
                assert (await visitor.get(link)).status_code in {200, 303}, link


class TestHome:
    async def test_begins_with_adding_funds(self, visitor: PageVisitor) -> None:
        await visitor.arrive(dollars=0)
        home = await visitor.get("/")

        assert "Add funds to get started" in home.text
        assert "H200 SXM 141 GB" in home.text

    async def test_shows_what_runs_and_what_it_costs(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        await launched(visitor)
        await visitor.cloud.pass_time(timedelta(hours=1))
        home = await visitor.get("/")

        assert "Add funds to get started" not in home.text
        assert "$6.58" in home.text
        assert "GPUs 0–1 of 8 on the node are yours" in home.text


class TestLaunchWizard:
    async def test_goes_through_six_steps_and_keeps_the_draft(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        page = await visitor.get("/launch")
        for fields in (
            {"sku": "h200-sxm"},
            {"gpu_count": "2", "count": "1"},
            {},
            {"ssh_cidrs": "203.0.113.0/24", "ports": "8888"},
        ):
            page = await visitor.follow(
                await visitor.submit(page, "/launch", {"go": "next", **fields})
            )
        assert heading_of(page.text) == "Launch workload"
        keys = re.findall(r'name="keys" value="(key_\w+)"', page.text)
        page = await visitor.follow(
            await visitor.submit(page, "/launch", {"go": "next", "keys": keys})
        )
        assert "203.0.113.0/24" in page.text

        again = await visitor.get("/launch?step=network")
        assert "203.0.113.0/24</textarea>" in again.text

        task = await visitor.follow(
            await visitor.submit(page, "/launch", {"go": "launch", "name": "sft"})
        )
        assert heading_of(task.text) == "Launch sft"

    async def test_launches_once_however_often_it_is_pressed(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        page = await visitor.get("/launch?sku=h200-sxm&gpu_count=1&step=review")
        first = await visitor.submit(page, "/launch", {"go": "launch", "name": "once"})
        second = await visitor.submit(page, "/launch", {"go": "launch", "name": "once"})

        assert first.headers["location"] == second.headers["location"]
        assert (await visitor.get("/workloads")).text.count('class="name"') == 1

    async def test_shows_every_failing_check_at_once(self, visitor: PageVisitor) -> None:
        await visitor.arrive(dollars=0)
        page = await visitor.get("/launch?sku=h200-sxm&gpu_count=8&step=review")
        answer = await visitor.submit(page, "/launch", {"go": "launch"})

        assert answer.status_code == 422
        assert "No SSH key chosen" in answer.text
        assert "Balance does not cover the hold" in answer.text
        assert "/launch?step=access" in links(answer.text)
        assert "/billing" in links(answer.text)

    async def test_names_the_step_of_a_field_that_will_not_do(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        page = await visitor.get("/launch?sku=h200-sxm&gpu_count=1&step=network")
        fields = {"go": "review", "ssh_cidrs": "300.0.0.0/8"}
        review = await visitor.follow(await visitor.submit(page, "/launch", fields))

        assert "300.0.0.0/8" in review.text
        assert "/launch?step=network" in links(review.text)

    async def test_says_unavailable_when_sold_out(self, visitor: PageVisitor) -> None:
        await visitor.arrive("oryx", dollars=1000)
        page = await visitor.get("/launch?sku=h200-sxm&gpu_count=8&step=capacity")
        fields = {"go": "review", "gpu_count": "8", "count": "2"}
        page = await visitor.follow(await visitor.submit(page, "/launch", fields))
        assert (await visitor.submit(page, "/launch", {"go": "launch"})).status_code == 303

        catalog = await visitor.get("/infra/catalog")
        assert "Unavailable" in catalog.text
        assert 'href="/launch?sku=' not in catalog.text

    async def test_draws_where_it_would_go_and_says_why(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        page = (await visitor.get("/launch?sku=h200-sxm&gpu_count=2&step=capacity")).text

        assert 'aria-label="The set on node-1: GPUs 0–1"' in page
        assert "Its GPUs reach each other over" in page

    async def test_says_why_it_fits_nowhere_and_what_would(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        for _ in range(5):
            await launched(visitor)  # four fill one node, the fifth stands on the other
        page = (await visitor.get("/launch?sku=h200-sxm&gpu_count=8&step=capacity")).text

        assert "It fits nowhere now." in page
        assert "4 GPUs fit now" in page


class TestWorkload:
    async def test_is_followed_from_launch_to_receipt(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        task = await launched(visitor)
        assert "Secure the place and the hold" in (await visitor.get(task)).text
        assert "Provisioning" in (await visitor.get("/workloads")).text

        await visitor.cloud.work()
        done = await visitor.get(task)
        assert "Open workload" in done.text
        address = workload_in(done.text)

        await visitor.cloud.pass_time(timedelta(minutes=30))
        detail = await visitor.get(address)
        assert "ssh ubuntu@" in detail.text
        assert "SHA256:" in detail.text
        assert "laptop, applied" in detail.text
        assert "$3.29" in detail.text

        ask = await visitor.get(f"{address}/release")
        assert "Billing stops the moment you press Release, at $3.29" in ask.text
        release = await visitor.submit(ask, f"{address}/release", {})
        await visitor.cloud.work()
        assert "See receipt" in (await visitor.follow(release)).text
        receipt = await visitor.get(f"{address}/receipt")
        assert "1,800" in receipt.text
        assert "Wipe evidence" in receipt.text

        usage = await visitor.get("/billing")
        assert "$3.29" in usage.text
        ledger = await visitor.get("/billing?view=ledger&kind=usage")
        assert "−$3.29" in ledger.text
        assert "sft-llama" in ledger.text
        assert "Released" in (await visitor.get("/workloads?view=released")).text

    async def test_shows_its_hardware_with_a_table_twin(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        await launched(visitor)
        await visitor.cloud.work()
        address = workload_in((await visitor.get("/workloads")).text)
        hardware = await visitor.get(address.replace("/workloads", "/infra/allocations"))

        assert "<svg" in hardware.text
        assert hardware.text.count('id="topology-gpu-') == 8
        assert "others are grey and unnamed" in hardware.text
        assert "Why here" in hardware.text
        assert "chosen among the places that had room" in hardware.text
        assert "could take it" not in hardware.text, "the fleet's size is nobody's business"

    async def test_shows_metrics_and_the_course_of_its_cost(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        await launched(visitor)
        early = workload_in((await visitor.get("/workloads")).text)
        assert "was never active" in (await visitor.get(f"{early}?tab=metrics")).text

        await visitor.cloud.work()
        await visitor.cloud.pass_time(timedelta(minutes=90))
        metrics = await visitor.get(f"{early}?tab=metrics&range=all")
        assert metrics.text.count('data-chart="') == 4
        assert '<th scope="col" class="num">GPU 1</th>' in metrics.text
        assert "GPU 2</th>" not in metrics.text  # it has two
        cost = await visitor.get(f"{early}?tab=cost")
        assert "$9.87 in 1 h 30 min" in cost.text
        assert "Reserve held" in cost.text
        burn = await visitor.get("/billing?range=7d&view=ledger")
        assert "$9.87 spent since" in burn.text
        assert "/billing?view=ledger&range=30d" in links(burn.text)

    async def test_lets_in_exactly_the_chosen_keys(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        await launched(visitor)
        await visitor.cloud.work()
        address = workload_in((await visitor.get("/workloads")).text)
        await visitor.post("/access/ssh-keys", {"public_key": OTHER_KEY, "name": "desktop"})
        access = await visitor.get(f"{address}?tab=access")
        keys = dict(re.findall(r'name="keys" value="(key_\w+)"( checked)?', access.text))
        (other,) = (key for key, checked in keys.items() if not checked)
        answer = await visitor.post(f"{address}/keys", {"keys": [other]})
        assert answer.headers["location"] == f"{address}?tab=access"
        await visitor.cloud.work()

        after = await visitor.get(f"{address}?tab=access")
        assert "desktop, applied" in after.text
        assert "laptop, applied" not in after.text
        refused = await visitor.post(f"{address}/keys", {"keys": []})
        assert refused.status_code == 409
        assert "at least one SSH key" in refused.text

    async def test_can_be_restarted_after_a_question(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        await launched(visitor)
        await visitor.cloud.work()
        address = workload_in((await visitor.get("/workloads")).text)
        ask = await visitor.get(f"{address}/restart")
        assert "Everything that runs in it is ended." in ask.text
        answer = await visitor.submit(ask, f"{address}/restart", {})

        assert "Restart" in heading_of((await visitor.follow(answer)).text)

    async def test_can_be_cancelled_before_it_is_active(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        await launched(visitor)
        address = workload_in((await visitor.get("/workloads")).text)
        ask = await visitor.get(f"{address}/cancel")
        answer = await visitor.submit(ask, f"{address}/cancel", {})
        await visitor.cloud.work()

        assert "Nothing was charged; the hold is back." in (await visitor.follow(answer)).text
        late = await visitor.submit(ask, f"{address}/cancel", {})
        assert late.status_code in {303, 409}

    async def test_of_another_tenant_reads_as_one_that_never_was(
        self, visitor: PageVisitor, cloud: MemoryCloud
    ) -> None:
        await visitor.arrive()
        await launched(visitor)
        address = workload_in((await visitor.get("/workloads")).text)
        stranger = await PageVisitor(cloud, visitor.client).arrive("eve", dollars=0)

        foreign = await stranger.get(address)
        absent = await stranger.get("/workloads/alc_0000000000000000000000000z")

        assert foreign.status_code == absent.status_code == 404
        assert heading_of(foreign.text) == heading_of(absent.text)

    @pytest.mark.parametrize("name", STRANGE)
    async def test_may_have_any_name(self, visitor: PageVisitor, name: str) -> None:
        await visitor.arrive()
        await launched(visitor, name)
        await visitor.cloud.work()
        page = await visitor.get("/workloads")
        address = workload_in(page.text)

        assert "<b>&amp;" not in page.text.replace("<b>&amp;amp;", "")
        assert name in heading_of((await visitor.get(address)).text)


class TestMoney:
    async def test_goes_to_the_pay_page_and_credits_nothing_on_return(
        self, visitor: PageVisitor
    ) -> None:
        await visitor.arrive(dollars=0)
        page = await visitor.get("/billing")
        answer = await visitor.submit(page, "/billing/checkout", {"amount": "50"})
        assert answer.headers["location"].startswith("https://pay.invalid/")

        (payment,) = await _payments(visitor.cloud)
        back = await visitor.get(f"/billing/return?payment={payment}")

        assert heading_of(back.text) == "Waiting for the payment"
        assert "$0.00 available" in re.sub(r"<[^>]+>", " ", back.text).replace("  ", " ")

    async def test_keeps_what_was_typed_and_says_what_to_do(self, visitor: PageVisitor) -> None:
        await visitor.arrive(dollars=0)
        page = await visitor.get("/billing")
        for typed in ("", "-5", "12.345", "1"):
            answer = await visitor.submit(page, "/billing/checkout", {"amount": typed})
            assert answer.status_code == 422, typed
            assert f'value="{typed}"' in answer.text
            assert 'aria-invalid="true"' in answer.text

    async def test_ignores_a_payment_that_is_not_ours(self, visitor: PageVisitor) -> None:
        await visitor.arrive(dollars=0)

        assert (await visitor.get("/billing/return?payment=pay_nothing")).status_code == 303


async def _payments(cloud: MemoryCloud) -> list[str]:
    async with cloud.transactions.begin(Scope.platform()) as unit:
        return [row.id for row in await unit.payments.find()]


class TestEveryPage:
    async def test_carries_the_policy_and_nothing_inline(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        await launched(visitor)
        await visitor.cloud.work()
        address = workload_in((await visitor.get("/workloads")).text)
        tabs = [f"{address}?tab={tab}" for tab in ("access", "hardware", "cost", "metrics")]

        for path in ("/login", "/", "/_gallery", "/nowhere", address, *tabs, *PAGES):
            answer = await visitor.get(path)
            policy = answer.headers["content-security-policy"]
            assert "script-src 'self';" in policy, path
            assert not re.search(r"\sstyle=|\son\w+=\"", answer.text), path
            assert "undefined" not in answer.text.lower(), path

    async def test_says_what_failed_with_a_reference(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        answer = await visitor.get("/nowhere")

        assert answer.status_code == 404
        assert "req_" in answer.text
        assert "Back to Home" in answer.text
