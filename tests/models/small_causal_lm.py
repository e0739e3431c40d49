"""A small decoder-only model with every size different, parameters moved."""

from typing import Any

import numpy as np

from npformer.models import CausalLM, CausalLMConfig

SIZES: dict[str, Any] = {
    "vocab_size": 23,
    "max_len": 9,
    "d_model": 12,
    "num_heads": 3,
    "d_ff": 10,
    "num_layers": 2,
}


def make(**changes: Any) -> CausalLM:
    """Make a model whose parameters, biases and norms too, are drawn at random."""
    rng = np.random.default_rng(0)
    model = CausalLM.init(CausalLMConfig(**(SIZES | changes)), rng, np.float64)
    for name, p in model.params.items():
        model.params[name] = p + 0.3 * rng.standard_normal(p.shape)
    return model
