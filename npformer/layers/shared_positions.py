"""What all layers of a stack share: T5's bias or DeBERTa's table, each with one gradient."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npformer.layers.attention_config import AttentionConfig
from npformer.layers.init import normal
from npformer.ops.positions.t5 import T5BiasCache, t5_bias_backward, t5_bias_forward
from npformer.types import FloatArray, Params

# Nothing to undo for DeBERTa, whose layers read the table itself.
SharedCache = T5BiasCache | None


def shared_params(
    config: AttentionConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
) -> Params:
    """Draw the table of the stack, if its positions have one.

    T5's is ``relative_bias`` of shape (R, H), DeBERTa's ``relative_embeddings`` (2k, D).
    """
    std = config.initializer_range
    if config.relative == "t5":
        shape = config.num_buckets, config.num_heads
        return {"relative_bias": normal(rng, *shape, std=std, dtype=dtype)}
    if config.relative == "deberta":
        shape = 2 * config.relative_clip, config.d_model
        return {"relative_embeddings": normal(rng, *shape, std=std, dtype=dtype)}
    return {}


def shared_forward(
    config: AttentionConfig,
    params: Params,
    query_len: int,
    key_len: int,
    *,
    offset: int = 0,
    bidirectional: bool,
) -> tuple[FloatArray | None, SharedCache]:
    """Return what every layer's self-attention is given as ``shared``, or None.

    Parameters
    ----------
    config : AttentionConfig
    params : dict
        Of the stack.
    query_len, key_len, offset, bidirectional
        As in `t5_bias_forward`.

    Returns
    -------
    shared : ndarray of shape (1, H, T, S) or (2k, D), or None
    cache : SharedCache
    """
    if config.relative == "t5":
        return t5_bias_forward(
            params["relative_bias"],
            query_len,
            key_len,
            offset=offset,
            num_buckets=config.num_buckets,
            max_distance=config.max_distance,
            bidirectional=bidirectional,
        )
    return params.get("relative_embeddings"), None


def shared_backward(dshared: Iterable[FloatArray | None], cache: SharedCache) -> Params:
    """Undo `shared_forward`: all layers read one array, so its gradient is the sum of theirs."""
    read: list[Any] = [d for d in dshared if d is not None]
    if not read:
        return {}
    total = sum(read[1:], start=read[0])
    if cache is not None:
        return {"relative_bias": t5_bias_backward(total, cache)}
    return {"relative_embeddings": total}
