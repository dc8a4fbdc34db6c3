"""The tasks of an allocation, as literal lists of steps."""

from datetime import timedelta
from typing import Final

from gpucloud_core.work.plan import Saga, StepPlan

PROVISION: Final = Saga(
    kind="provision",
    title="Launch",
    undoes=True,
    steps=(
        StepPlan(
            key="reserve",
            title="Secure the place and the hold",
            usual=timedelta(seconds=1),
            shares_begin=True,
            shares_end=True,
        ),
        StepPlan(
            key="check_node",
            title="Check the node",
            usual=timedelta(seconds=1),
            timeout=timedelta(seconds=30),
            shares_end=True,
        ),
        StepPlan(
            key="create",
            title="Make the slice",
            usual=timedelta(seconds=5),
            timeout=timedelta(seconds=120),
            leaves=True,
            shares_begin=True,
        ),
        StepPlan(
            key="apply_keys",
            title="Apply your SSH keys and read them back",
            usual=timedelta(seconds=1),
            timeout=timedelta(seconds=30),
            shares_begin=True,
        ),
        StepPlan(
            key="verify",
            title="Pass the health gate",
            usual=timedelta(seconds=2),
            timeout=timedelta(seconds=60),
            shares_begin=True,
        ),
        StepPlan(
            key="hand_over",
            title="Hand over and start billing",
            usual=timedelta(seconds=1),
            commits=True,
        ),
    ),
)

RELEASE: Final = Saga(
    kind="release",
    title="Release",
    undoes=False,
    steps=(
        StepPlan(
            key="cut_off",
            title="Cut off access",
            usual=timedelta(seconds=1),
            timeout=timedelta(seconds=30),
            attempts=8,
            shares_begin=True,
            shares_end=True,
        ),
        StepPlan(
            key="remove",
            title="Remove the slice",
            usual=timedelta(seconds=2),
            timeout=timedelta(seconds=60),
            attempts=8,
            shares_begin=True,
            shares_end=True,
        ),
        StepPlan(
            key="wipe",
            title="Wipe",
            usual=timedelta(seconds=5),
            timeout=timedelta(seconds=300),
            attempts=6,
            shares_begin=True,
        ),
        StepPlan(
            key="verify_clean",
            title="Prove that nothing is left",
            usual=timedelta(seconds=2),
            timeout=timedelta(seconds=60),
            attempts=6,
            shares_begin=True,
            shares_end=True,
        ),
        StepPlan(
            key="free",
            title="Make the capacity available again",
            usual=timedelta(seconds=1),
            shares_begin=True,
            shares_end=True,
        ),
    ),
)

FORCE_CLEANUP: Final = Saga(
    kind="force_cleanup",
    title="Force cleanup",
    undoes=False,
    steps=(
        StepPlan(
            key="free",
            title="Make the capacity available again, on an operator's word",
            usual=timedelta(seconds=1),
            shares_begin=True,
            shares_end=True,
        ),
    ),
)

EDIT_KEYS: Final = Saga(
    kind="edit_keys",
    title="Change SSH keys",
    undoes=False,
    shares_finish=True,
    steps=(
        StepPlan(
            key="apply_keys",
            title="Apply the SSH keys and read them back",
            usual=timedelta(seconds=1),
            timeout=timedelta(seconds=30),
            attempts=6,
            shares_begin=True,
        ),
    ),
)

RESTART: Final = Saga(
    kind="restart",
    title="Restart",
    undoes=False,
    steps=(
        StepPlan(
            key="restart",
            title="Restart the slice",
            usual=timedelta(seconds=5),
            timeout=timedelta(seconds=90),
            attempts=4,
            shares_begin=True,
            shares_end=True,
        ),
        StepPlan(
            key="verify",
            title="Pass the health gate",
            usual=timedelta(seconds=2),
            timeout=timedelta(seconds=60),
            attempts=4,
            shares_begin=True,
            shares_end=True,
        ),
    ),
)

CLEAN_UP: Final = Saga(
    kind="clean_up",
    title="Clean up a stray machine",
    undoes=False,
    shares_finish=True,
    steps=(
        StepPlan(
            key="cut_off",
            title="Cut off access",
            usual=timedelta(seconds=1),
            timeout=timedelta(seconds=30),
            shares_begin=True,
            shares_end=True,
        ),
        StepPlan(
            key="remove",
            title="Remove the slice",
            usual=timedelta(seconds=2),
            timeout=timedelta(seconds=60),
            shares_begin=True,
            shares_end=True,
        ),
        StepPlan(
            key="wipe",
            title="Wipe",
            usual=timedelta(seconds=5),
            timeout=timedelta(seconds=300),
            shares_begin=True,
            shares_end=True,
        ),
        StepPlan(
            key="verify_clean",
            title="Prove that nothing is left",
            usual=timedelta(seconds=2),
            timeout=timedelta(seconds=60),
            shares_begin=True,
            shares_end=True,
        ),
    ),
)

SAGAS: Final = {
    saga.kind: saga for saga in (PROVISION, RELEASE, FORCE_CLEANUP, EDIT_KEYS, RESTART, CLEAN_UP)
}
