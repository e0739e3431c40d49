"""Small models with every size different, parameters off their initial 0 and 1, a ragged batch."""

from typing import Any, NamedTuple

import numpy as np

from npformer.models import (
    ClassifierConfig,
    Encoder,
    EncoderConfig,
    MaskedLM,
    ModelOutput,
    SequenceClassifier,
    TokenClassifier,
)

MODELS = {
    "encoder": Encoder,
    "sequence": SequenceClassifier,
    "token": TokenClassifier,
    "masked_lm": MaskedLM,
}
SIZES: dict[str, Any] = {
    "vocab_size": 29,
    "d_model": 12,
    "num_heads": 3,
    "num_layers": 2,
    "d_ff": 10,
    "max_len": 11,
    "num_segments": 6,
}
CLASSES = 5


class Inputs(NamedTuple):
    """What forward takes, in order: B = 4, T = 7; the second row is the longest."""

    ids: Any
    keep: Any
    segments: Any


def make(kind: str, *, dtype: Any = np.float64, seed: int = 0, **changes: Any) -> Any:
    """Make a model whose parameters, biases and norms too, are drawn at random."""
    config: Any = EncoderConfig
    if kind in ("sequence", "token"):
        config, changes = ClassifierConfig, {"num_classes": CLASSES, **changes}
    rng = np.random.default_rng(seed)
    model = MODELS[kind].init(config(**{**SIZES, **changes}), rng, np.float64)
    for name, p in model.params.items():
        spread = 0.3 if p.ndim == 1 else p.shape[0] ** -0.5
        if "embeddings" in name:
            spread = 0.5
        model.params[name] = (p + spread * rng.standard_normal(p.shape)).astype(dtype)
    return model


def inputs(seed: int = 1, lengths: tuple[int, ...] = (3, 7, 1, 5)) -> Inputs:
    rng = np.random.default_rng(seed)
    shape = len(lengths), max(lengths)
    ids = rng.integers(0, SIZES["vocab_size"], shape)
    keep = np.arange(shape[1]) < np.array(lengths)[:, None]
    return Inputs(ids, keep, rng.integers(0, SIZES["num_segments"], shape))


def random_like(output: ModelOutput, seed: int = 2) -> ModelOutput:
    """Return a cotangent for everything a model gave."""
    rng = np.random.default_rng(seed)

    def draw(a: Any) -> Any:
        return None if a is None else rng.standard_normal(a.shape).astype(a.dtype)

    return ModelOutput(
        tuple(draw(a) for a in output.hidden or ()) or None,
        tuple(draw(a) for a in output.scores or ()) or None,
        draw(output.logits),
    )
