"""Why a launch or a release did not work: code, words, the money, what to do next.

One table for ``failure_reason`` and ``release_failed_reason``. The codes that a step can fail
with are mapped to it here, so that no other place decides what a customer reads.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReason:
    """One row: what happened, what it meant for the money, and what to do."""

    code: str
    words: str
    money: str
    next_action: str
    retryable: bool


_NOTHING_CHARGED: Final = "Nothing was charged, and the hold was returned."
_BILLING_STOPPED: Final = "Billing stopped when you asked for the release."

REASONS: Final = {
    row.code: row
    for row in (
        FailureReason(
            code="node_unreachable",
            words="The node did not answer while your machine was being made.",
            money=_NOTHING_CHARGED,
            next_action="Launch again: placement avoids nodes that do not answer.",
            retryable=True,
        ),
        FailureReason(
            code="node_refused",
            words="The node could not make your machine.",
            money=_NOTHING_CHARGED,
            next_action="Launch again; if it fails twice, tell support the task id.",
            retryable=True,
        ),
        FailureReason(
            code="host_key_changed",
            words="The node could not prove that it is ours, so it was not used.",
            money=_NOTHING_CHARGED,
            next_action="Launch again: the node is kept out until an operator has looked.",
            retryable=True,
        ),
        FailureReason(
            code="health_gate_failed",
            words="Your machine was made, but did not pass its checks before handover.",
            money=_NOTHING_CHARGED,
            next_action="Launch again; the hardware that failed is kept out.",
            retryable=True,
        ),
        FailureReason(
            code="keys_not_applied",
            words="Your SSH keys could not be read back from the machine.",
            money=_NOTHING_CHARGED,
            next_action="Check the keys on the Access page and launch again.",
            retryable=True,
        ),
        FailureReason(
            code="step_timed_out",
            words="The node took far longer than usual.",
            money=_NOTHING_CHARGED,
            next_action="Launch again; the slow node is tried last.",
            retryable=True,
        ),
        FailureReason(
            code="out_of_time",
            words="We did not get to it in time, so it was given up instead of started late.",
            money=_NOTHING_CHARGED,
            next_action="Launch again if you still want it.",
            retryable=True,
        ),
        FailureReason(
            code="sibling_failed",
            words="Another machine of this launch failed, and they were to run together.",
            money=_NOTHING_CHARGED,
            next_action="Retry the launch; none of it runs without the others.",
            retryable=True,
        ),
        FailureReason(
            code="launch_failed",
            words="The launch did not work, for a reason of ours.",
            money=_NOTHING_CHARGED,
            next_action="Launch again; if it fails twice, tell support the task id.",
            retryable=True,
        ),
        FailureReason(
            code="wipe_unproven",
            words="The wipe ran, but what it left could not be proven clean.",
            money=_BILLING_STOPPED,
            next_action="Retry the release. The hardware stays out of use until it is proven.",
            retryable=True,
        ),
        FailureReason(
            code="node_unreachable_on_release",
            words="The node does not answer, so the wipe could not be proven.",
            money=_BILLING_STOPPED,
            next_action="Nothing to pay. Retry when the node is back, or leave it to us.",
            retryable=True,
        ),
        FailureReason(
            code="release_failed",
            words="The release did not finish, for a reason of ours.",
            money=_BILLING_STOPPED,
            next_action="Retry the release; operators see it already.",
            retryable=True,
        ),
    )
}
"""Every reason by its code; the list may only grow."""

_RELEASE_CODES: Final = {
    "node_unreachable": "node_unreachable_on_release",
    "step_timed_out": "node_unreachable_on_release",
    "wipe_unproven": "wipe_unproven",
}


def failure_reason(error: str) -> str:
    """Return the reason code of a launch that failed with this error code."""
    return error if error in REASONS and error not in _RELEASE_CODES.values() else "launch_failed"


def release_failed_reason(error: str) -> str:
    """Return the reason code of a release (or an unwinding) that failed with this error code."""
    return _RELEASE_CODES.get(error, "release_failed")
