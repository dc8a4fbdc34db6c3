"""What the components of templates/components take, as frozen rows of words and flags.

A page's view row is built from these; no component sees a domain object.
"""

from dataclasses import dataclass

from gpucloud_web.formats import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Kpi:
    """A key figure: the number, its unit, and the next fact."""

    label: str
    value: str
    unit: str = ""
    note: str = ""
    tone: str = ""
    icon: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A name and its value. ``weak``: pending, so not as sure as the others.

    ``copy`` is the whole of a value that is shown shortened, such as an id. ``href`` leads there.
    """

    label: str
    value: str
    note: str = ""
    big: bool = False
    weak: bool = False
    copy: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineRow:
    """A state or step in a timeline.

    Attributes:
        kind, state: a row of the status table.
        note: beside the title, such as ``attempt 2``.
        wait: why it waits or what went wrong so far.
        right, right_note: how long or when; what is usual.
        value, usual: seconds so far and usually, for a bar; ``usual`` 0 draws none.
        emphasis: ``now``, ``pend`` or empty.
    """

    kind: str
    state: str
    title: str
    note: str = ""
    text: str = ""
    wait: str = ""
    right: str = ""
    right_note: str = ""
    value: int = 0
    usual: int = 0
    emphasis: str = ""
    href: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """One precheck: ``ok``, ``notice`` or ``failed``, with its remedy."""

    state: str
    title: str
    text: str = ""
    href: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionCard:
    """One of several to choose from; ``off`` ones say why and what else can be done."""

    value: str
    big: str
    strong: str = ""
    text: str = ""
    chosen: bool = False
    off: bool = False
    off_text: str = ""
    off_href: str = ""
    off_link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One line of a select, or one checkbox of several."""

    value: str
    text: str
    selected: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WizardStep:
    """``state``: ``done``, ``now`` or ``todo``."""

    number: int
    title: str
    note: str
    href: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteRow:
    label: str
    value: str
    before: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The price of a launch and everything that was checked.

    The button says ``submit`` and sends ``go`` with the wizard's form.
    """

    total: str
    per: str
    about: str
    as_of: str
    rows: tuple[QuoteRow, ...]
    checks: tuple[CheckRow, ...]
    checks_note: str
    submit: str
    go: str
    submit_note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewTab:
    title: str
    href: str
    count: str = ""
    current: bool = False
    hot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A filter in force; ``href`` is this list without it."""

    name: str
    value: str
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A part of the address that a filter form carries along."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pager:
    shown: str
    newer: str = ""
    older: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuEntry:
    """A line of a row's menu; the text ``-`` is a rule. ``copy`` copies instead of leading away.

    ``operation`` is the API's operation that does the same. ``post`` does it at once, without a
    question: for what can be undone or repeated.
    """

    text: str
    icon: str = ""
    href: str = ""
    danger: bool = False
    dialog: bool = False
    copy: str = ""
    operation: str = ""
    post: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFault:
    """One thing wrong with a form.

    ``field`` is its input's name, or empty for the whole; ``href`` where that input is, if it is
    not on this page.
    """

    field: str
    text: str
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """One line of a confirmation: what happens, what is kept, what it costs."""

    icon: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One event of a task or an allocation."""

    when: Moment
    clock: str
    topic: str
    text: str
    warning: bool = False
