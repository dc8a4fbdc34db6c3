"""The simulated account: finding, listing and expanding resources, and saying what happened."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from gpucloud_adapters.simulated.stripe import resources
from gpucloud_adapters.simulated.stripe.problems import StripeProblem, unknown_object
from gpucloud_adapters.simulated.stripe.published import Params
from gpucloud_adapters.simulated.stripe.store import Resource, Store, new_id

DELIVER: Final = "deliver"
PAGE_LENGTH: Final = range(1, 101)
_DEFAULT_PAGE: Final = 10
_NOUNS: Final = {
    "checkout.session": "checkout.session",
    "payment_intent": "payment_intent",
    "charge": "charge",
    "customer": "customer",
    "event": "event",
    "refund": "refund",
}
_EXPANDED_BY: Final = {
    "payment_intent": "payment_intent",
    "customer": "customer",
    "latest_charge": "charge",
    "charge": "charge",
}
_METADATA_KEYS: Final = 50
_METADATA_KEY_LENGTH: Final = 40
_METADATA_VALUE_LENGTH: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to the API, checked: what it asks for, and what its events are traced to."""

    params: Params = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    request_id: str | None = None
    idempotency_key: str | None = None


ITSELF: Final = Call()
"""What the account does on its own, or for somebody at its pages."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The store and what surrounds it.

    Attributes:
        now: the wall clock, in Unix seconds.
        base_url: where the pages are, without a slash at the end.
        settle_seconds: how long a bank debit takes.
        search_lag_seconds: how long a search does not know of what was just made.
        delivery_delay: how long an event waits before its first delivery.
        wake: told whenever there may be an errand to run.
    """

    store: Store
    now: Callable[[], float]
    base_url: str
    settle_seconds: float = 5.0
    search_lag_seconds: float = 0.0
    delivery_delay: Callable[[], float] = lambda: 0.0
    wake: Callable[[], None] = lambda: None

    def instant(self) -> int:
        return int(self.now())

    def find(self, kind: str, key: str, param: str = "id") -> Resource:
        """Return a resource.

        Raises:
            StripeProblem: there is none.
        """
        found = self.store.get(kind, key)
        if found is None:
            raise unknown_object(_NOUNS[kind], key, param)
        return found

    def emit(self, kind: str, about: Resource, call: Call = ITSELF) -> None:
        """Record that something happened, and see to it that our endpoint is told."""
        event = {
            **resources.event(),
            "id": new_id("evt_"),
            "created": self.instant(),
            "data": {"object": about},
            "request": {"id": call.request_id, "idempotency_key": call.idempotency_key},
            "type": kind,
        }
        self.store.put(event)
        self.store.add_errand(DELIVER, event["id"], self.now() + self.delivery_delay())
        self.wake()

    def listed(
        self, kind: str, url: str, params: Params, keeps: Callable[[Resource], bool]
    ) -> Resource:
        """Return a page of Stripe's lists: newest first, from beside the resource named."""
        limit = params.get("limit", _DEFAULT_PAGE)
        if limit not in PAGE_LENGTH:
            raise StripeProblem("Limit must be between 1 and 100.", param="limit")
        kept = (
            resource
            for resource in self.store.newest_first(kind)
            if keeps(resource) and _is_within(resource["created"], params.get("created"))
        )
        if (before := params.get("ending_before")) is not None:
            self.find(kind, before, "ending_before")
            newer = list(_until(kept, before))
            page, has_more = newer[-limit:], len(newer) > limit
        else:
            if (after := params.get("starting_after")) is not None:
                self.find(kind, after, "starting_after")
                _skip_past(kept, after)
            found = list(islice(kept, limit + 1))
            page, has_more = found[:limit], len(found) > limit
        return {"object": "list", "data": page, "has_more": has_more, "url": url}

    def expanded(self, answer: Resource, params: Params) -> Resource:
        """Return the answer with the ids that ``expand`` names replaced by their resources."""
        for path in params.get("expand", ()):
            is_list = answer.get("object") in {"list", "search_result"}
            name = path.removeprefix("data.") if is_list else path
            if name not in _EXPANDED_BY or (is_list and name == path):
                raise StripeProblem(f"This property cannot be expanded ({path}).", param="expand")
            for resource in answer["data"] if is_list else (answer,):
                self._expand(resource, name, path)
        return answer

    def _expand(self, resource: Resource, name: str, path: str) -> None:
        if name not in resource:
            raise StripeProblem(f"This property cannot be expanded ({path}).", param="expand")
        if isinstance(resource[name], str):
            resource[name] = self.find(_EXPANDED_BY[name], resource[name])


def checked_metadata(params: Params, within: str = "metadata") -> dict[str, str]:
    """Return the metadata given, which Stripe keeps within bounds.

    Source: https://docs.stripe.com/api/metadata, read 2026-11-22.
    """
    metadata: dict[str, str] = params.get("metadata") or {}
    if len(metadata) > _METADATA_KEYS:
        raise StripeProblem("Metadata can have up to 50 keys.", param=within)
    for key, value in metadata.items():
        if len(key) > _METADATA_KEY_LENGTH or len(value) > _METADATA_VALUE_LENGTH:
            raise StripeProblem(
                f"Metadata keys have up to 40 characters and values up to 500: {key[:60]}",
                param=f"{within}[{key}]",
            )
    return metadata


def matches_search(resource: Resource, query: str) -> bool:
    """Tell whether a resource is what a search asks for: equalities, joined by AND.

    Raises:
        StripeProblem: the query is of another form.
    """
    for clause in query.split(" AND "):
        match = _CLAUSE.fullmatch(clause.strip())
        if match is None:
            raise StripeProblem(
                "We were unable to parse your search query. The simulated Stripe understands"
                " field:'value' and metadata['key']:'value', joined by AND.",
                param="query",
            )
        field_name, key, value = match["field"], match["key"], match["value"]
        held: Mapping[str, Any] = resource["metadata"] if key else resource
        if held.get(key or field_name) != value:
            return False
    return True


_CLAUSE: Final = re.compile(
    r"""(?:metadata\[(?P<q>["'])(?P<key>[^"']+)(?P=q)\]|(?P<field>email|name))"""
    r""":(?P<r>["'])(?P<value>[^"']*)(?P=r)"""
)


def _is_within(created: int, bounds: object) -> bool:
    match bounds:
        case None:
            return True
        case int(instant):
            return created == instant
        case dict():
            tests = {
                "gt": created.__gt__,
                "gte": created.__ge__,
                "lt": created.__lt__,
                "lte": created.__le__,
            }
            return all(tests[name](limit) for name, limit in bounds.items())
    raise StripeProblem("Invalid created", param="created")


def _until(resources_: Iterator[Resource], key: str) -> Iterator[Resource]:
    for resource in resources_:
        if resource["id"] == key:
            return
        yield resource


def _skip_past(resources_: Iterator[Resource], key: str) -> None:
    for resource in resources_:
        if resource["id"] == key:
            return
