"""Position encodings, one file per family."""

from npformer.ops.positions.alibi import alibi_bias, alibi_slopes
from npformer.ops.positions.deberta import (
    DisentangledBiasCache,
    disentangled_bias_backward,
    disentangled_bias_forward,
    disentangled_scale,
)
from npformer.ops.positions.rotary import RotaryCache, rotary_backward, rotary_forward
from npformer.ops.positions.shaw import (
    ShawKeyCache,
    ShawValueCache,
    shaw_key_backward,
    shaw_key_forward,
    shaw_value_backward,
    shaw_value_forward,
)
from npformer.ops.positions.shaw_attention import (
    ShawAttentionCache,
    shaw_attention_backward,
    shaw_attention_forward,
)
from npformer.ops.positions.sinusoidal import (
    SinusoidalCache,
    sinusoidal_backward,
    sinusoidal_forward,
    sinusoidal_table,
)
from npformer.ops.positions.t5 import (
    T5BiasCache,
    relative_bucket,
    t5_bias_backward,
    t5_bias_forward,
)

__all__ = [
    "DisentangledBiasCache",
    "RotaryCache",
    "ShawAttentionCache",
    "ShawKeyCache",
    "ShawValueCache",
    "SinusoidalCache",
    "T5BiasCache",
    "alibi_bias",
    "alibi_slopes",
    "disentangled_bias_backward",
    "disentangled_bias_forward",
    "disentangled_scale",
    "relative_bucket",
    "rotary_backward",
    "rotary_forward",
    "shaw_attention_backward",
    "shaw_attention_forward",
    "shaw_key_backward",
    "shaw_key_forward",
    "shaw_value_backward",
    "shaw_value_forward",
    "sinusoidal_backward",
    "sinusoidal_forward",
    "sinusoidal_table",
    "t5_bias_backward",
    "t5_bias_forward",
]
