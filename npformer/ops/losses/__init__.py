"""Losses, one family a file; each says in its first line what it is the mean over."""

from npformer.ops.losses.cosine import CosineCache, cosine_backward, cosine_forward
from npformer.ops.losses.cross_entropy import (
    CrossEntropyCache,
    cross_entropy_backward,
    cross_entropy_forward,
)
from npformer.ops.losses.distillation import (
    SoftTargetCache,
    kl_backward,
    kl_forward,
    soft_cross_entropy_backward,
    soft_cross_entropy_forward,
)
from npformer.ops.losses.mse import MseCache, mse_backward, mse_forward

__all__ = [
    "CosineCache",
    "CrossEntropyCache",
    "MseCache",
    "SoftTargetCache",
    "cosine_backward",
    "cosine_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "kl_backward",
    "kl_forward",
    "mse_backward",
    "mse_forward",
    "soft_cross_entropy_backward",
    "soft_cross_entropy_forward",
]
