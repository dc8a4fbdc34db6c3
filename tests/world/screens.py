"""Every live route in its states worth looking at, and how to get in."""

from playwright.async_api import expect

from world.browser import Visitor
from world.page_server import PageServer

PASSWORD = "ada's long password"
TABS = ("access", "hardware", "metrics", "timeline", "cost")


def paths_of(server: PageServer) -> tuple[str, ...]:
    """Return every address worth a look, with the ids of ``server``."""
    workload = f"/workloads/{server.active}"
    return (
        *("/", "/workloads", "/workloads?q=nothing", "/workloads?view=attention"),
        *("/infra/allocations", "/infra/catalog"),
        *(f"/launch?step={step}&sku=h200-sxm" for step in ("hardware", "capacity", "image")),
        *(f"/launch?step={step}" for step in ("network", "access", "review")),
        *(workload, *(f"{workload}?tab={tab}" for tab in TABS)),
        f"/infra/allocations/{server.active}",
        *(f"{workload}/release", f"{workload}/restart"),
        f"/workloads/bulk/release?id={server.active}&id={server.released}",
        *(f"/workloads/{server.released}", f"/workloads/{server.released}/receipt"),
        *(f"/workloads/{server.known[state]}" for state in ("moving", "stuck", "failed")),
        *(f"/tasks/{server.task}", f"/tasks/{server.known['failed_task']}"),
        *("/billing", "/billing?view=ledger", "/account", "/access/ssh-keys", "/inbox"),
        *("/infra/storage", "/admin", "/nowhere", "/_gallery"),
    )


async def signed_in(visitor: Visitor) -> None:
    """Sign in as the one whose cloud it is."""
    await visitor.go("/login")
    await visitor.page.get_by_label("Username").fill("ada")
    await visitor.page.get_by_label("Password").fill(PASSWORD)
    await visitor.press("Sign in")
    await expect(visitor.page.get_by_role("heading", level=1, name="Home")).to_be_visible()
