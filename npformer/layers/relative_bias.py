"""The bias that all layers of a stack share: T5's, looked up once, with one gradient."""

from npformer.layers.attention_config import AttentionConfig
from npformer.ops.positions.t5 import T5BiasCache, t5_bias_forward
from npformer.types import FloatArray


def shared_bias_forward(
    config: AttentionConfig,
    table: FloatArray | None,
    query_len: int,
    key_len: int,
    *,
    offset: int = 0,
    bidirectional: bool,
) -> tuple[FloatArray | None, T5BiasCache | None]:
    """Look up what every layer's self-attention adds to its scores, or None without a table.

    Each layer returns the gradient of the bias it was given; their sum is the cotangent of
    `t5_bias_backward`, which undoes this.

    Parameters
    ----------
    config : AttentionConfig
    table : ndarray of shape (R, H), optional
    query_len, key_len, offset, bidirectional
        As in `t5_bias_forward`.

    Returns
    -------
    bias : ndarray of shape (1, H, T, S), or None
    cache : T5BiasCache, or None
    """
    if table is None:
        return None, None
    return t5_bias_forward(
        table,
        query_len,
        key_len,
        offset=offset,
        num_buckets=config.num_buckets,
        max_distance=config.max_distance,
        bidirectional=bidirectional,
    )
