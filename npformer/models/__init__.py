"""Part III, models: configurations, the encoder, its heads, and the encoder-decoder."""

from npformer.models.causal_lm import CausalLM, CausalLMCache, CausalLMConfig
from npformer.models.config import PRESETS, ClassifierConfig, EncoderConfig, preset
from npformer.models.decoding import Decoding, decode_step, start_decoding
from npformer.models.encoder import BlockInputs, Encoder, EncoderCache
from npformer.models.generation import (
    Hypothesis,
    beam_search,
    filtered_probs,
    greedy_search,
    sample,
)
from npformer.models.heads import (
    SequenceClassifier,
    SequenceClassifierCache,
    TokenClassifier,
    TokenClassifierCache,
)
from npformer.models.huggingface import (
    find_model,
    from_pretrained,
    read_projections,
    save_pretrained,
)
from npformer.models.masked_lm import MaskedLM, MaskedLMCache
from npformer.models.output import ModelOutput, add_outputs, output_arrays
from npformer.models.seq2seq import Seq2Seq, Seq2SeqCache, Seq2SeqConfig, Seq2SeqOutput, shift_right

__all__ = [
    "PRESETS",
    "BlockInputs",
    "CausalLM",
    "CausalLMCache",
    "CausalLMConfig",
    "ClassifierConfig",
    "Decoding",
    "Encoder",
    "EncoderCache",
    "EncoderConfig",
    "Hypothesis",
    "MaskedLM",
    "MaskedLMCache",
    "ModelOutput",
    "Seq2Seq",
    "Seq2SeqCache",
    "Seq2SeqConfig",
    "Seq2SeqOutput",
    "SequenceClassifier",
    "SequenceClassifierCache",
    "TokenClassifier",
    "TokenClassifierCache",
    "add_outputs",
    "beam_search",
    "decode_step",
    "filtered_probs",
    "find_model",
    "from_pretrained",
    "greedy_search",
    "output_arrays",
    "preset",
    "read_projections",
    "sample",
    "save_pretrained",
    "shift_right",
    "start_decoding",
]
