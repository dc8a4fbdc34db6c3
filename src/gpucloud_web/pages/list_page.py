"""A page that is a list and little else."""

from dataclasses import dataclass

from gpucloud_web.tables import ListView


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """All that ``lists/index.html`` may know.

    Attributes:
        total: how many there are in all, where that is cheap to know.
        sub: a line under the title.
        primary, primary_href: the page's one cobalt button, which leads somewhere.
        act, act_path, act_operation: a button that posts at once, as it can be undone or repeated.
    """

    title: str
    list: ListView
    total: str = ""
    sub: str = ""
    primary: str = ""
    primary_href: str = ""
    primary_icon: str = "plus"
    act: str = ""
    act_path: str = ""
    act_operation: str = ""
