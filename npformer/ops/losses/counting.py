"""The number a loss divides by."""

from npformer.checks import InputError


def divisor(count: int | None, kept: int) -> float:
    """Return ``count`` if given, else ``kept``; never zero, so that nothing kept gives 0 / 1.

    Shards and accumulated batches pass the whole batch's count, so that their losses and
    gradients add up to those of the whole batch.
    """
    if count is not None and count < 0:
        raise InputError(f"count: got {count}, expected the number of entries of the whole batch")
    return float(max(kept if count is None else count, 1))
