"""One case or more for every kind of model, with padding, segments and dropout."""

from typing import Any

import numpy as np

from npformer.models.causal_lm import CausalLM
from npformer.models.config import CausalLMConfig, ClassifierConfig, Seq2SeqConfig
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.masked_lm import MaskedLM
from npformer.models.seq2seq import Seq2Seq
from npformer.selfcheck.case import SIZES, ModelCase

IDS = np.array([[1, 5, 3, 3], [0, 7, 5, 10]])
KEEP = np.array([[True, True, True, False], [True, True, True, True]])
SEGMENTS = np.array([[0, 0, 1, 1], [0, 1, 1, 1]])
# A source padded at its end beside one padded at its start; T = 4 and S = 5.
SOURCE = np.array([[2, 6, 6, 0, 9], [4, 1, 10, 2, 8]])
SOURCE_KEEP = np.array([[True, True, True, False, False], [False, True, True, True, True]])
T5: dict[str, Any] = {"num_buckets": 8, "max_distance": 5}
DEBERTA: dict[str, Any] = {"relative": "deberta", "relative_clip": 2}
AS_T5: dict[str, Any] = {
    **T5,
    "relative": "t5",
    "positions": "none",
    "attention_scale": 1.0,
    "norm": "rms",
    "norm_first": True,
    "use_bias": False,
    "shared_embeddings": True,
    "scale_embeddings": False,
    "scale_output": True,
}
AS_MARIAN: dict[str, Any] = {
    "sinusoidal_layout": "half-split",
    "activation": "silu",
    "shared_embeddings": True,
}
AS_LLAMA: dict[str, Any] = {
    "relative": "rotary",
    "positions": "none",
    "norm": "rms",
    "use_bias": False,
    "activation": "silu",
    "gated": True,
    "num_heads": 9,
    "num_kv_heads": 3,
    "d_model": 36,
}
TARGET_KEEP = np.array([[False, True, True, True], [True, True, True, False]])


def model_cases() -> list[ModelCase]:
    """Return one case or more for every kind of model."""
    scores = {"output_scores": True}
    everything = {**scores, "output_values": True}
    some = {"positions": np.array([1, 5, 5, 6])}
    return [
        _case("teacher", SequenceClassifier, scores, num_layers=4),
        _case("student", SequenceClassifier, scores, d_model=12, d_ff=17),
        _case("student/no scores", SequenceClassifier, {}, relu_before_classifier=True),
        _case("regressor", SequenceClassifier, scores, num_classes=1, problem="regression"),
        _case("pre-LN", SequenceClassifier, scores, norm_first=True, activation="silu"),
        _case("token classifier", TokenClassifier, scores),
        _case("masked LM", MaskedLM, {**scores, **some}),
        _case("masked LM/no scores", MaskedLM, {**some}),
        _seq2seq("seq2seq", scores, target_vocab_size=SIZES["R"], num_decoder_layers=3),
        _seq2seq("seq2seq/shared, pre-LN", scores, shared_embeddings=True, norm_first=True),
        _seq2seq("seq2seq/learned positions", {}, positions="learned", shared_embeddings=True),
        _causal_lm("causal LM"),
        _seq2seq("seq2seq/rotary", {}, relative="rotary", positions="none"),
        _case("encoder/ALiBi", SequenceClassifier, scores, relative="alibi"),
        _case("encoder/rotary", SequenceClassifier, scores, relative="rotary"),
        _causal_lm("causal LM/ALiBi", relative="alibi", positions="none"),
        _case("encoder/T5 bias", SequenceClassifier, scores, relative="t5", **T5),
        _case("encoder/Shaw", SequenceClassifier, scores, relative="shaw", relative_clip=2),
        _case(
            "encoder/rotary, partial",
            SequenceClassifier,
            scores,
            relative="rotary",
            rotary_layout="interleaved",
            rotary_size=4,
        ),
        _seq2seq("seq2seq/T5 bias", scores, relative="t5", positions="none", **T5),
        _seq2seq("seq2seq/Shaw", {}, relative="shaw", relative_clip=2, positions="none"),
        _causal_lm("causal LM/T5 bias", relative="t5", attention_scale=1.0, **T5),
        _causal_lm("causal LM/Shaw", relative="shaw", relative_clip=2, positions="none"),
        _seq2seq("seq2seq/average", {}, attention="average"),
        _case("encoder/DeBERTa", SequenceClassifier, scores, positions="none", **DEBERTA),
        _seq2seq("seq2seq/DeBERTa", scores, positions="none", **DEBERTA),
        _causal_lm("causal LM/DeBERTa", positions="none", **DEBERTA),
        _case("encoder/sinusoidal", SequenceClassifier, scores, positions="sinusoidal"),
        _case("encoder/factorised table", SequenceClassifier, scores, embedding_size=7),
        _case("masked LM/factorised table", MaskedLM, {**scores, **some}, embedding_size=7),
        _case("encoder/no biases", SequenceClassifier, scores, use_bias=False, norm="rms"),
        _seq2seq("seq2seq/as T5", scores, **AS_T5),
        _seq2seq("seq2seq/as Marian", scores, **AS_MARIAN),
        _causal_lm("causal LM/as Llama", **AS_LLAMA),
        _causal_lm("causal LM/one head of keys", num_kv_heads=1, gated=True),
        _causal_lm("causal LM/post-LN", norm_first=False, positions="sinusoidal"),
        _case("encoder/values", SequenceClassifier, everything, num_kv_heads=1),
        _seq2seq("seq2seq/values", everything, norm_first=True, num_kv_heads=1),
        _causal_lm("causal LM/values", {**everything, **some}, num_kv_heads=1),
    ]


def _case(name: str, kind: Any, options: dict[str, Any], **config: Any) -> ModelCase:
    """Make a model on a batch of two; without scores the key biases have no gradient."""
    sizes: dict[str, Any] = {
        "vocab_size": SIZES["V"],
        "max_len": SIZES["T"] + 3,
        "d_model": SIZES["D"],
        "num_heads": SIZES["H"],
        "d_ff": SIZES["F"],
        "num_layers": 2,
        "num_classes": SIZES["C"],
        "dropout": 0.2,
        "attention_dropout": 0.2,
    }
    sizes |= config
    rng = np.random.default_rng(list(name.encode()))
    model = kind.init(ClassifierConfig(**sizes), rng, np.float64)
    silent = [n for n in model.params if n.endswith(".b_k") and "output_scores" not in options]
    inputs = (IDS, KEEP, SEGMENTS)
    return ModelCase(name, model, inputs, options, zero=tuple(silent), dropout=True)


def _seq2seq(name: str, options: dict[str, Any], **config: Any) -> ModelCase:
    """Make an encoder-decoder; without scores the key biases have no gradient."""
    sizes: dict[str, Any] = {
        "vocab_size": SIZES["V"],
        "target_vocab_size": SIZES["V"],
        "max_len": SIZES["S"] + 2,
        "d_model": SIZES["D"],
        "num_heads": SIZES["H"],
        "d_ff": SIZES["F"],
        "num_encoder_layers": 2,
        "num_decoder_layers": 2,
        "activation": "gelu",  # relu has a kink, where differences are wrong
        "dropout": 0.2,
        "attention_dropout": 0.2,
    }
    rng = np.random.default_rng(list(name.encode()))
    model = Seq2Seq.init(Seq2SeqConfig(**(sizes | config)), rng, np.float64)
    silent = () if options else _silent(model)
    # The target's ids stay below the smaller vocabulary.
    inputs = (SOURCE, np.minimum(IDS, SIZES["R"] - 1), SOURCE_KEEP, TARGET_KEEP)
    return ModelCase(name, model, inputs, options, zero=tuple(silent), dropout=True)


def _causal_lm(name: str, options: dict[str, Any] | None = None, **config: Any) -> ModelCase:
    """Make a decoder-only model; one sequence is padded at its start, the other at its end."""
    sizes: dict[str, Any] = {
        "vocab_size": SIZES["V"],
        "max_len": SIZES["T"] + 3,
        "d_model": SIZES["D"],
        "num_heads": SIZES["H"],
        "d_ff": SIZES["F"],
        "num_layers": 2,
        "dropout": 0.2,
        "attention_dropout": 0.2,
    }
    rng = np.random.default_rng(list(name.encode()))
    model = CausalLM.init(CausalLMConfig(**(sizes | config)), rng, np.float64)
    inputs = (IDS, TARGET_KEEP)
    silent = () if options else _silent(model)
    return ModelCase(name, model, inputs, options or {}, zero=tuple(silent), dropout=True)


def _silent(model: Seq2Seq | CausalLM) -> list[str]:
    """Name the biases that shift a whole row of scores, which the softmax does not see.

    Turned by its position a key bias is another one at every key, and so it is if distances
    ask for keys; then it is the bias of the distances' answers that shifts a row.
    """
    moved = {"rotary": (), "deberta": ("b_kr",)}.get(model.config.relative, ("b_k",))
    ends = [f".{last}" for last in moved] + ["cross_attention.b_k"]
    return [name for name in model.params if name.endswith(tuple(ends))]
