"""Optimizers: what turns gradients into better parameters."""

from npformer.optim.adam import Adam, AdamW, BertAdam
from npformer.optim.clip import clip_by_global_norm, clip_by_tensor_norm, global_norm
from npformer.optim.optimizer import Optimizer, OptimizerState, decays
from npformer.optim.schedules import (
    constant_schedule,
    cosine_schedule,
    linear_schedule,
    noam_schedule,
)
from npformer.optim.sgd import Sgd

__all__ = [
    "Adam",
    "AdamW",
    "BertAdam",
    "Optimizer",
    "OptimizerState",
    "Sgd",
    "clip_by_global_norm",
    "clip_by_tensor_norm",
    "constant_schedule",
    "cosine_schedule",
    "decays",
    "global_norm",
    "linear_schedule",
    "noam_schedule",
]
