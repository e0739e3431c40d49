"""Part V, distillation: a small model learns from a large one.

`mapping` says which layer learns from which, `terms` holds one file per loss, `objective` adds
them up for the trainer, `recipes` names every choice in which TinyBERT's paper, its released code
and this library differ.
"""

from npformer.distill.mapping import layer_mapping
from npformer.distill.objective import combine
from npformer.distill.terms import (
    AttentionScoresTerm,
    EmbeddingTerm,
    HardLabelTerm,
    HiddenTerm,
    LogitMseTerm,
    PredictionTerm,
)

__all__ = [
    "AttentionScoresTerm",
    "EmbeddingTerm",
    "HardLabelTerm",
    "HiddenTerm",
    "LogitMseTerm",
    "PredictionTerm",
    "combine",
    "layer_mapping",
]
