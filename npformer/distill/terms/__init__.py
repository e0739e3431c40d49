"""The terms of a distillation loss, one file per term; each is a layer whose output is a number."""

from npformer.distill.terms.embedding import EmbeddingTerm
from npformer.distill.terms.hard_label import HardLabelTerm
from npformer.distill.terms.hidden import HiddenTerm
from npformer.distill.terms.logit_mse import LogitMseTerm
from npformer.distill.terms.prediction import PredictionTerm
from npformer.distill.terms.scores import AttentionScoresTerm
from npformer.distill.terms.term import Labels, Term

__all__ = [
    "AttentionScoresTerm",
    "EmbeddingTerm",
    "HardLabelTerm",
    "HiddenTerm",
    "Labels",
    "LogitMseTerm",
    "PredictionTerm",
    "Term",
]
