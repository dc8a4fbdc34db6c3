"""Refusals of launches and of acts on allocations. Each launch check has one of these."""

from gpucloud_core.kernel.errors import DomainError, ErrorKind


class SoldOut(DomainError):
    """Nothing free fits this launch now."""

    code = "sold_out"
    kind = ErrorKind.NO_CAPACITY
    next_step = "Choose fewer GPUs or another SKU, or come back when something is free."


class SkuNotOffered(DomainError):
    """This SKU is not offered."""

    code = "sku_not_offered"
    kind = ErrorKind.INVALID
    next_step = "Choose a SKU from the catalog."


class CountNotAllowed(DomainError):
    """This SKU is not sold in this number of GPUs."""

    code = "gpu_count_not_allowed"
    kind = ErrorKind.INVALID
    next_step = "Choose one of the SKU's allowed_gpu_counts."


class ImageNotOffered(DomainError):
    """This image does not run on this SKU."""

    code = "image_not_offered"
    kind = ErrorKind.INVALID
    next_step = "Choose one of the images listed for the SKU."


class SshKeyRequired(DomainError):
    """A launch needs at least one SSH key, or nobody could get in."""

    code = "ssh_key_required"
    kind = ErrorKind.INVALID
    next_step = "Add a public key under Access, SSH Keys, and choose it."


class SshKeyUnknown(DomainError):
    """One of the SSH keys is not yours or was deleted."""

    code = "ssh_key_unknown"
    kind = ErrorKind.INVALID
    next_step = "Choose keys from your own list."


class QuotaExceeded(DomainError):
    """The launch would take the tenant over its GPU quota."""

    code = "quota_exceeded"
    kind = ErrorKind.CONFLICT
    next_step = "Release something, or ask for a higher quota."


class NotCancellable(DomainError):
    """It is past the point where it can be cancelled."""

    code = "not_cancellable"
    kind = ErrorKind.CONFLICT
    next_step = "Release it instead."


class NotReleasable(DomainError):
    """It cannot be released from its present state."""

    code = "not_releasable"
    kind = ErrorKind.CONFLICT
    next_step = "Cancel it if it is still being made; nothing to do if it is released."


class NotRestartable(DomainError):
    """Only what is active can be restarted."""

    code = "not_restartable"
    kind = ErrorKind.CONFLICT
    next_step = "Wait until it is active, or release it."


class NotTimeable(DomainError):
    """Only what may still run has a timer."""

    code = "not_timeable"
    kind = ErrorKind.CONFLICT
    next_step = "It ends already, or has ended; there is nothing to time."


class NotConnectable(DomainError):
    """A shell is possible only while the allocation is active."""

    code = "not_connectable"
    kind = ErrorKind.CONFLICT
    next_step = "Wait until it is active."


class HealthGateFailed(DomainError):
    """The slice did not pass its checks."""

    code = "health_gate_failed"
    kind = ErrorKind.CONFLICT
    next_step = "Nothing to do: it is tried again; what never worked is not charged."


class KeysNotApplied(DomainError):
    """The keys read back from the slice are not the ones that were set."""

    code = "keys_not_applied"
    kind = ErrorKind.CONFLICT
    next_step = "Nothing to do: it is tried again, then undone."


class WipeUnproven(DomainError):
    """What the wipe left could not be proven clean."""

    code = "wipe_unproven"
    kind = ErrorKind.CONFLICT
    next_step = "The capacity stays fenced until a retry or an operator proves it."


class ReceiptNotReady(DomainError):
    """The receipt is made when the release has begun."""

    code = "receipt_not_ready"
    kind = ErrorKind.CONFLICT
    next_step = "Release the allocation first."


class NothingToRetry(DomainError):
    """Nothing of this launch failed, or it is on its way again."""

    code = "nothing_to_retry"
    kind = ErrorKind.CONFLICT
    next_step = "Open the machines that run; launch anew if you want more."
