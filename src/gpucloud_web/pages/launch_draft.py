"""The draft of a launch: what a person has chosen so far, step by step.

It lives in a cookie of this browser, so that reload, back and closing the tab lose nothing and the
wizard works without JavaScript. It is only ever the person's own input and is checked like any
other: nothing is trusted because it came from there. What is launched is what the Review page's
form carries, so that two tabs cannot change each other's launch.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from gpucloud_core.allocations.model import EndOfBalance, InboundRule, Network
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.placement.model import Spread, Within

COOKIE: Final = "gpucloud-launch"
COOKIE_BYTES_MAX: Final = 3800
STEPS: Final = {
    "hardware": "Hardware",
    "capacity": "Capacity",
    "image": "Image",
    "network": "Network",
    "access": "Access",
    "review": "Review",
}
_HOUR: Final = 3600
_TEXT_MAX: Final = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Every field of the wizard as it was typed. Empty means: not chosen yet."""

    sku: str = ""
    gpu_count: str = ""
    count: str = "1"
    spread: str = ""  # "distinct_nodes" or empty
    near: str = ""  # how near to each other, of ``Within``; empty: anywhere, each on its own
    image: str = ""
    ssh_cidrs: str = ""
    ports: str = ""
    keys: tuple[str, ...] = ()
    name: str = ""
    end_of_balance: str = EndOfBalance.RELEASE.value
    hours: str = ""
    project: str = ""  # pinned when the draft was begun
    seen: tuple[str, ...] = ()  # steps that were submitted

    @classmethod
    def of_cookie(cls, text: str) -> "Draft":
        """Read a draft; whatever cannot be read is a fresh one."""
        try:
            found = json.loads(base64.urlsafe_b64decode(text.encode()))
        except (ValueError, binascii.Error):
            return cls()
        return _read(found) if isinstance(found, dict) else cls()

    def cookie(self) -> str:
        """Return the draft as a cookie's value."""
        packed = json.dumps(asdict(self), separators=(",", ":"), ensure_ascii=True)
        return base64.urlsafe_b64encode(packed.encode()).decode()

    def with_link(self, query: Mapping[str, str]) -> "Draft":
        """Take over what a link to the wizard says, such as a catalog card's SKU and size."""
        sku, count = query.get("sku", ""), query.get("gpu_count", "")
        changed = replace(self, sku=sku, gpu_count="", image="") if sku else self
        changed = replace(changed, gpu_count=count) if count else changed
        return replace(changed, seen=_with(changed.seen, "hardware")) if sku else changed

    def with_step(self, step: str, form: Mapping[str, Sequence[str]]) -> "Draft":
        """Take over what the form of one step says; boxes not ticked are not sent."""

        def one(name: str, kept: str) -> str:
            return form[name][0].strip()[:_TEXT_MAX] if form.get(name) else kept

        changed = self
        match step:
            case "hardware":
                sku = one("sku", self.sku)
                fresh = sku != self.sku
                changed = replace(
                    self,
                    sku=sku,
                    gpu_count="" if fresh else self.gpu_count,
                    image="" if fresh else self.image,
                )
            case "capacity":
                changed = replace(
                    self,
                    gpu_count=one("gpu_count", self.gpu_count),
                    count=one("count", self.count),
                    spread=one("spread", ""),
                    near=one("near", ""),
                )
            case "image":
                changed = replace(self, image=one("image", self.image))
            case "network":
                changed = replace(self, ssh_cidrs=one("ssh_cidrs", ""), ports=one("ports", ""))
            case "access":
                changed = replace(self, keys=tuple(form.get("keys", ()))[:60], name=one("name", ""))
            case "review":
                changed = replace(
                    self,
                    name=one("name", self.name),
                    end_of_balance=one("end_of_balance", self.end_of_balance),
                    hours=one("hours", ""),
                )
            case _:
                return self
        return replace(changed, seen=_with(changed.seen, step))

    def request(self) -> LaunchRequest:
        """Return the launch this draft asks for; numbers that are none become 0 and are refused."""
        together = self.near in set(Within) and _number(self.count) > 1
        return LaunchRequest(
            sku_id=self.sku,
            gpu_count=_number(self.gpu_count),
            count=_number(self.count),
            spread=Spread.DISTINCT_NODES if self.spread else Spread.ANY,
            together=together,
            within=Within(self.near) if together else Within.FABRIC,
            image_id=self.image or None,
            ssh_key_ids=self.keys,
            name=self.name or None,
            network=Network(ssh_cidrs=_words(self.ssh_cidrs), inbound=inbound_rules(self.ports)),
            end_of_balance=EndOfBalance(self.end_of_balance)
            if self.end_of_balance in set(EndOfBalance)
            else EndOfBalance.RELEASE,
            ttl_seconds=_number(self.hours) * _HOUR if self.hours else None,
        )


def _read(found: Mapping[str, object]) -> Draft:
    fresh = Draft()
    changes: dict[str, Any] = {}
    for field in fields(fresh):
        value, default = found.get(field.name), getattr(fresh, field.name)
        if isinstance(default, tuple) and isinstance(value, list):
            changes[field.name] = tuple(str(one)[:64] for one in value[:60])
        elif isinstance(default, str) and isinstance(value, str):
            changes[field.name] = value[:_TEXT_MAX]
    return replace(fresh, **changes)


def _with(seen: tuple[str, ...], step: str) -> tuple[str, ...]:
    return seen if step in seen else (*seen, step)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0  # noqa: PLR2004


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def inbound_rules(text: str) -> tuple[InboundRule, ...]:
    """Return the ports of lines such as ``8080`` or ``8080 203.0.113.0/24``.

    A first word that is no number becomes port 0, which the launch refuses by name.
    """
    rules = []
    for line in text.splitlines():
        words = _words(line)
        if words:
            rules.append(InboundRule(port=_number(words[0]), cidrs=words[1:]))
    return tuple(rules)
