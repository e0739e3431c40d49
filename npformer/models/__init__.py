"""Part III, models: configurations, the encoder and the heads that stand on it."""

from npformer.models.config import PRESETS, ClassifierConfig, EncoderConfig, preset
from npformer.models.encoder import BlockInputs, Encoder, EncoderCache
from npformer.models.heads import (
    SequenceClassifier,
    SequenceClassifierCache,
    TokenClassifier,
    TokenClassifierCache,
)
from npformer.models.masked_lm import MaskedLM, MaskedLMCache
from npformer.models.output import ModelOutput, add_outputs, output_arrays

__all__ = [
    "PRESETS",
    "BlockInputs",
    "ClassifierConfig",
    "Encoder",
    "EncoderCache",
    "EncoderConfig",
    "MaskedLM",
    "MaskedLMCache",
    "ModelOutput",
    "SequenceClassifier",
    "SequenceClassifierCache",
    "TokenClassifier",
    "TokenClassifierCache",
    "add_outputs",
    "output_arrays",
    "preset",
]
