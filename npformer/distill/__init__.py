"""Part V, distillation: a small model learns from a large one.

`mapping` says which layer learns from which, `terms` holds one file per loss, `objective` adds
them up for the trainer, `recipes` names every choice in which TinyBERT's paper, its released code
and this library differ.
"""

from npformer.distill.mapping import layer_mapping as layer_mapping
from npformer.distill.objective import combine as combine
from npformer.distill.terms import AttentionScoresTerm as AttentionScoresTerm
from npformer.distill.terms import EmbeddingTerm as EmbeddingTerm
from npformer.distill.terms import HardLabelTerm as HardLabelTerm
from npformer.distill.terms import HiddenTerm as HiddenTerm
from npformer.distill.terms import LogitMseTerm as LogitMseTerm
from npformer.distill.terms import PredictionTerm as PredictionTerm
