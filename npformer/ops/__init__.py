"""Part I, calculus: pure pairs, `x_forward` and `x_backward`, one file per chapter."""

from npformer.ops.activations import GeluCache as GeluCache
from npformer.ops.activations import GeluTanhCache as GeluTanhCache
from npformer.ops.activations import ReluCache as ReluCache
from npformer.ops.activations import SigmoidCache as SigmoidCache
from npformer.ops.activations import SiluCache as SiluCache
from npformer.ops.activations import TanhCache as TanhCache
from npformer.ops.activations import gelu_backward as gelu_backward
from npformer.ops.activations import gelu_forward as gelu_forward
from npformer.ops.activations import gelu_tanh_backward as gelu_tanh_backward
from npformer.ops.activations import gelu_tanh_forward as gelu_tanh_forward
from npformer.ops.activations import relu_backward as relu_backward
from npformer.ops.activations import relu_forward as relu_forward
from npformer.ops.activations import sigmoid_backward as sigmoid_backward
from npformer.ops.activations import sigmoid_forward as sigmoid_forward
from npformer.ops.activations import silu_backward as silu_backward
from npformer.ops.activations import silu_forward as silu_forward
from npformer.ops.activations import tanh_backward as tanh_backward
from npformer.ops.activations import tanh_forward as tanh_forward
from npformer.ops.attention import AttentionCache as AttentionCache
from npformer.ops.attention import AttentionMixCache as AttentionMixCache
from npformer.ops.attention import AttentionScoresCache as AttentionScoresCache
from npformer.ops.attention import attention_backward as attention_backward
from npformer.ops.attention import attention_forward as attention_forward
from npformer.ops.attention import attention_mix_backward as attention_mix_backward
from npformer.ops.attention import attention_mix_forward as attention_mix_forward
from npformer.ops.attention import attention_scores_backward as attention_scores_backward
from npformer.ops.attention import attention_scores_forward as attention_scores_forward
from npformer.ops.blockwise_attention import BlockwiseAttentionCache as BlockwiseAttentionCache
from npformer.ops.blockwise_attention import (
    blockwise_attention_backward as blockwise_attention_backward,
)
from npformer.ops.blockwise_attention import (
    blockwise_attention_forward as blockwise_attention_forward,
)
from npformer.ops.broadcast import BroadcastAddCache as BroadcastAddCache
from npformer.ops.broadcast import broadcast_add_backward as broadcast_add_backward
from npformer.ops.broadcast import broadcast_add_forward as broadcast_add_forward
from npformer.ops.dropout import DropoutCache as DropoutCache
from npformer.ops.dropout import dropout_backward as dropout_backward
from npformer.ops.dropout import dropout_forward as dropout_forward
from npformer.ops.embedding import EmbeddingCache as EmbeddingCache
from npformer.ops.embedding import embedding_backward as embedding_backward
from npformer.ops.embedding import embedding_forward as embedding_forward
from npformer.ops.gating import GateCache as GateCache
from npformer.ops.gating import gate_backward as gate_backward
from npformer.ops.gating import gate_forward as gate_forward
from npformer.ops.grouped_heads import RepeatHeadsCache as RepeatHeadsCache
from npformer.ops.grouped_heads import repeat_heads_backward as repeat_heads_backward
from npformer.ops.grouped_heads import repeat_heads_forward as repeat_heads_forward
from npformer.ops.layernorm import LayerNormCache as LayerNormCache
from npformer.ops.layernorm import RmsNormCache as RmsNormCache
from npformer.ops.layernorm import layernorm_backward as layernorm_backward
from npformer.ops.layernorm import layernorm_forward as layernorm_forward
from npformer.ops.layernorm import rmsnorm_backward as rmsnorm_backward
from npformer.ops.layernorm import rmsnorm_forward as rmsnorm_forward
from npformer.ops.linear import LinearCache as LinearCache
from npformer.ops.linear import linear_backward as linear_backward
from npformer.ops.linear import linear_forward as linear_forward
from npformer.ops.losses.cosine import CosineCache as CosineCache
from npformer.ops.losses.cosine import cosine_backward as cosine_backward
from npformer.ops.losses.cosine import cosine_forward as cosine_forward
from npformer.ops.losses.cross_entropy import CrossEntropyCache as CrossEntropyCache
from npformer.ops.losses.cross_entropy import cross_entropy_backward as cross_entropy_backward
from npformer.ops.losses.cross_entropy import cross_entropy_forward as cross_entropy_forward
from npformer.ops.losses.distillation import SoftTargetCache as SoftTargetCache
from npformer.ops.losses.distillation import kl_backward as kl_backward
from npformer.ops.losses.distillation import kl_forward as kl_forward
from npformer.ops.losses.distillation import (
    soft_cross_entropy_backward as soft_cross_entropy_backward,
)
from npformer.ops.losses.distillation import (
    soft_cross_entropy_forward as soft_cross_entropy_forward,
)
from npformer.ops.losses.mse import MseCache as MseCache
from npformer.ops.losses.mse import mse_backward as mse_backward
from npformer.ops.losses.mse import mse_forward as mse_forward
from npformer.ops.losses.patient import PatientCache as PatientCache
from npformer.ops.losses.patient import patient_backward as patient_backward
from npformer.ops.losses.patient import patient_forward as patient_forward
from npformer.ops.losses.relations import AttentionKlCache as AttentionKlCache
from npformer.ops.losses.relations import ValueRelationCache as ValueRelationCache
from npformer.ops.losses.relations import attention_kl_backward as attention_kl_backward
from npformer.ops.losses.relations import attention_kl_forward as attention_kl_forward
from npformer.ops.losses.relations import value_relation_backward as value_relation_backward
from npformer.ops.losses.relations import value_relation_forward as value_relation_forward
from npformer.ops.positions.alibi import alibi_bias as alibi_bias
from npformer.ops.positions.alibi import alibi_slopes as alibi_slopes
from npformer.ops.positions.deberta import DisentangledBiasCache as DisentangledBiasCache
from npformer.ops.positions.deberta import disentangled_bias_backward as disentangled_bias_backward
from npformer.ops.positions.deberta import disentangled_bias_forward as disentangled_bias_forward
from npformer.ops.positions.deberta import disentangled_scale as disentangled_scale
from npformer.ops.positions.rotary import RotaryCache as RotaryCache
from npformer.ops.positions.rotary import rotary_backward as rotary_backward
from npformer.ops.positions.rotary import rotary_forward as rotary_forward
from npformer.ops.positions.shaw import ShawKeyCache as ShawKeyCache
from npformer.ops.positions.shaw import ShawValueCache as ShawValueCache
from npformer.ops.positions.shaw import shaw_key_backward as shaw_key_backward
from npformer.ops.positions.shaw import shaw_key_forward as shaw_key_forward
from npformer.ops.positions.shaw import shaw_value_backward as shaw_value_backward
from npformer.ops.positions.shaw import shaw_value_forward as shaw_value_forward
from npformer.ops.positions.shaw_attention import ShawAttentionCache as ShawAttentionCache
from npformer.ops.positions.shaw_attention import shaw_attention_backward as shaw_attention_backward
from npformer.ops.positions.shaw_attention import shaw_attention_forward as shaw_attention_forward
from npformer.ops.positions.sinusoidal import SinusoidalCache as SinusoidalCache
from npformer.ops.positions.sinusoidal import sinusoidal_backward as sinusoidal_backward
from npformer.ops.positions.sinusoidal import sinusoidal_forward as sinusoidal_forward
from npformer.ops.positions.sinusoidal import sinusoidal_table as sinusoidal_table
from npformer.ops.positions.t5 import T5BiasCache as T5BiasCache
from npformer.ops.positions.t5 import relative_bucket as relative_bucket
from npformer.ops.positions.t5 import t5_bias_backward as t5_bias_backward
from npformer.ops.positions.t5 import t5_bias_forward as t5_bias_forward
from npformer.ops.softmax import LogSoftmaxCache as LogSoftmaxCache
from npformer.ops.softmax import MaskedSoftmaxCache as MaskedSoftmaxCache
from npformer.ops.softmax import SoftmaxCache as SoftmaxCache
from npformer.ops.softmax import log_softmax_backward as log_softmax_backward
from npformer.ops.softmax import log_softmax_forward as log_softmax_forward
from npformer.ops.softmax import masked_softmax_backward as masked_softmax_backward
from npformer.ops.softmax import masked_softmax_forward as masked_softmax_forward
from npformer.ops.softmax import softmax_backward as softmax_backward
from npformer.ops.softmax import softmax_forward as softmax_forward
