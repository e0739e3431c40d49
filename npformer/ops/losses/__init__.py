"""Losses, one file per family; each says in its first line what it is the mean over."""

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
from npformer.ops.losses.patient import PatientCache, patient_backward, patient_forward
from npformer.ops.losses.relations import (
    AttentionKlCache,
    ValueRelationCache,
    attention_kl_backward,
    attention_kl_forward,
    value_relation_backward,
    value_relation_forward,
)

__all__ = [
    "AttentionKlCache",
    "CosineCache",
    "CrossEntropyCache",
    "MseCache",
    "PatientCache",
    "SoftTargetCache",
    "ValueRelationCache",
    "attention_kl_backward",
    "attention_kl_forward",
    "cosine_backward",
    "cosine_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "kl_backward",
    "kl_forward",
    "mse_backward",
    "mse_forward",
    "patient_backward",
    "patient_forward",
    "soft_cross_entropy_backward",
    "soft_cross_entropy_forward",
    "value_relation_backward",
    "value_relation_forward",
]
