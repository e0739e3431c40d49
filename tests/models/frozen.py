"""The tiny BERT of the frozen vectors: its numbers come from a formula, not from a generator."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from npformer.layers.shapes import sizes
from npformer.models import (
    ClassifierConfig,
    EncoderConfig,
    MaskedLM,
    SequenceClassifier,
    TokenClassifier,
)

FILE = Path(__file__).parents[1] / "parity" / "frozen" / "bert.json"
KINDS: dict[str, Any] = {
    "sequence": SequenceClassifier,
    "token": TokenClassifier,
    "masked_lm": MaskedLM,
}
SIZES: dict[str, Any] = {
    "vocab_size": 9,
    "d_model": 6,
    "num_heads": 2,
    "num_layers": 2,
    "d_ff": 5,
    "max_len": 7,
    "num_segments": 2,
}
CLASSES = 3
# No id 0: PyTorch keeps the row of its padding id without a gradient.
IDS = np.array([[1, 5, 8, 2], [1, 2, 3, 4]])
KEEP = np.array([[True, True, True, True], [True, True, False, False]])
SEGMENTS = np.array([[0, 0, 1, 1], [0, 1, 0, 0]])
LABELS = {
    "sequence": np.array([2, 0]),
    "token": np.array([[0, 2, -100, 1], [1, 0, -100, -100]]),
    "masked_lm": np.array([[-100, 4, -100, 7], [6, -100, -100, -100]]),
}
# Enough to catch any wrong step on the way back, and few enough to read.
GRADIENTS = (
    "encoder.embeddings.segment",
    "encoder.layers.0.attention.w_q",
    "encoder.layers.0.attention.w_k",
    "encoder.layers.0.attention.b_v",
    "encoder.layers.1.norm_1.gamma",
    "encoder.layers.1.feedforward.w_1",
)
HEAD_GRADIENTS = {
    "sequence": ("pooler.b", "classifier.w"),
    "token": ("classifier.w",),
    "masked_lm": ("encoder.embeddings.token", "head.gamma", "head.b_decoder"),
}


def make(kind: str) -> Any:
    """Make the model in float64: each array is a wave with its own start."""
    if kind == "masked_lm":
        config = EncoderConfig(**SIZES)
    else:
        config = ClassifierConfig(**SIZES, num_classes=CLASSES)
    params = {}
    for name, axes in KINDS[kind].shapes(config).items():
        shape = sizes(axes)
        start = zlib.crc32(name.encode()) % 1000
        wave = np.sin(start + 1.7 * np.arange(np.prod(shape))).reshape(shape)
        params[name] = (1.0 if name.endswith("gamma") else 0.0) + 0.6 * wave
    return KINDS[kind](config, params)


def gradient_names(kind: str) -> tuple[str, ...]:
    return (*GRADIENTS, *HEAD_GRADIENTS[kind])


def read() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))
