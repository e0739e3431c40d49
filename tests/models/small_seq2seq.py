"""A small encoder-decoder with every size different, parameters moved, ragged on both sides."""

from typing import Any, NamedTuple

import numpy as np

from npformer.models import Seq2Seq, Seq2SeqConfig

SIZES: dict[str, Any] = {
    "vocab_size": 23,
    "target_vocab_size": 19,
    "d_model": 12,
    "num_heads": 3,
    "num_encoder_layers": 2,
    "num_decoder_layers": 3,
    "d_ff": 10,
    "max_len": 9,
}


class Translation(NamedTuple):
    """What forward takes, in order, and the labels, -100 where there is none."""

    source: Any
    target: Any
    source_keep: Any
    target_keep: Any
    labels: Any


def make(*, dtype: Any = np.float64, seed: int = 0, **changes: Any) -> Seq2Seq:
    """Make a model whose parameters, biases and norms too, are drawn at random."""
    rng = np.random.default_rng(seed)
    model = Seq2Seq.init(Seq2SeqConfig(**(SIZES | changes)), rng, np.float64)
    for name, p in model.params.items():
        spread = 0.3 if p.ndim == 1 else p.shape[0] ** -0.5
        model.params[name] = (p + spread * rng.standard_normal(p.shape)).astype(dtype)
    return model


def batch(seed: int = 1) -> Translation:
    """Return B = 4, S = 7 (padded at the start and at the end), T = 6 (padded at the end)."""
    rng = np.random.default_rng(seed)
    source, target = rng.integers(0, 23, (4, 7)), rng.integers(0, 19, (4, 6))
    source_keep = np.arange(7) < np.array([3, 7, 1, 5])[:, None]
    source_keep[3] = source_keep[3, ::-1]
    target_keep = np.arange(6) < np.array([6, 2, 4, 1])[:, None]
    labels = np.where(target_keep, rng.integers(0, 19, (4, 6)), -100)
    return Translation(source, target, source_keep, target_keep, labels)
