"""Where a test may break what the tasks of an allocation do: around each call to a node.

What each point says is so whenever it is reached, whatever came before.
"""

from typing import Final

from gpucloud_core.kernel.faults import outside

CHECK_NODE: Final = outside(
    "provision",
    "check_node",
    before="Nothing is on the node.",
    after="The node has answered; nothing is on it.",
)
CREATE: Final = outside(
    "provision",
    "create",
    before="The slice is named in the database and nowhere else.",
    after="The slice runs on the node; the database does not know where it answers.",
)
APPLY_KEYS: Final = outside(
    "provision",
    "apply_keys",
    before="The slice runs and lets nobody in.",
    after="The slice lets the customer in; the database has not noted it.",
)
VERIFY: Final = outside(
    "provision",
    "verify",
    before="The slice lets the customer in, unchecked.",
    after="The slice is fit to hand over; nobody is told and nothing is billed.",
)
RESTART: Final = outside(
    "restart",
    "restart",
    before="The slice is to be restarted; what runs in it may run still.",
    after="The slice runs anew with all it had; the database says that it restarts.",
)
CUT_OFF: Final = outside(
    "release",
    "cut_off",
    before="The meter has stopped; the customer can still get in.",
    after="Nobody gets in; the slice is still there.",
)
REMOVE: Final = outside(
    "cleanup",
    "remove",
    before="The slice, or whatever was made of it, is on the node.",
    after="The slice is gone; what it left behind is not wiped.",
)
WIPE: Final = outside(
    "cleanup",
    "wipe",
    before="What the slice left behind is on the devices.",
    after="The devices are wiped; the proof is in nobody's hands but ours.",
)
VERIFY_CLEAN: Final = outside(
    "cleanup",
    "verify_clean",
    before="The wipe is proven; nobody has looked for what else may be left.",
    after="Nothing is left; the devices' health is not known yet.",
)
PROBE: Final = outside(
    "cleanup",
    "probe",
    before="Nothing is left; the capacity is fenced.",
    after="The devices are clean and well; the capacity is still fenced.",
)
LOOK: Final = outside(
    "reconcile",
    "look",
    before="The rows were read once; the node was asked nothing yet.",
    after="The node has said what it has; nobody has compared it with the rows.",
)
