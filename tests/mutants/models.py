"""Wrong backwards of layers and models: parts that are right, put together wrongly.

Each function gets the right one and returns the wrong one, to stand in its place.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from npformer.distill.terms import HiddenTerm, PredictionTerm
from npformer.distill.terms import scores as scores_term
from npformer.layers import attention as attention_layer
from npformer.layers import feedforward as feedforward_layer
from npformer.layers import norm as norm_layer
from npformer.layers.attention import AttentionOutput, MultiHeadAttention
from npformer.layers.block import EncoderBlock
from npformer.layers.decoder_block import DecoderBlock
from npformer.layers.embeddings import Embeddings
from npformer.layers.norm import Norm
from npformer.layers.token_embeddings import TokenEmbeddings
from npformer.models import heads, masked_lm
from npformer.models.causal_lm import CausalLM
from npformer.models.encoder import Encoder
from npformer.models.seq2seq import Seq2Seq
from npformer.ops import DropoutCache, dropout_backward, layernorm_backward, linear_backward
from npformer.selfcheck import SIZES
from npformer.types import prefixed


class ModelMutant(NamedTuple):
    """Where the mistake is made and the row that must kill it."""

    name: str
    make: Callable[[Any], Any]
    owner: Any
    attribute: str
    case: str


MODEL_MUTANTS: list[ModelMutant] = []


def mutant(case, owner, attribute="backward"):
    """Put a function on the list."""

    def add(make):
        MODEL_MUTANTS.append(ModelMutant(make.__name__, make, owner, attribute, case))
        return make

    return add


def undo_block(self, doutput, cache, *, first=True, second=True):
    """`EncoderBlock.backward` in post-LN, whose residuals may be left out."""
    g = {}
    duf, g["norm_2.gamma"], g["norm_2.beta"] = layernorm_backward(doutput.y, cache.merge_2.norm)
    dfed = dropout_backward(duf, cache.merge_2.dropout)
    du, feedforward = self._feedforward.backward(dfed, cache.feedforward)
    du = du + duf if second else du
    dxa, g["norm_1.gamma"], g["norm_1.beta"] = layernorm_backward(du, cache.merge_1.norm)
    da = AttentionOutput(dropout_backward(dxa, cache.merge_1.dropout), doutput.scores)
    (dx, _, dbias), attention = self._attention.backward(da, cache.attention)
    g |= prefixed("attention", attention) | prefixed("feedforward", feedforward)
    return (dx + dxa if first else dx, dbias), g


@mutant("student", EncoderBlock)
def residual_around_attention_dropped(right):
    """The gradient goes through the attention only, not around it."""
    return lambda self, doutput, cache: undo_block(self, doutput, cache, first=False)


@mutant("student", EncoderBlock)
def residual_around_feedforward_dropped(right):
    """The gradient goes through the feed-forward only, not around it."""
    return lambda self, doutput, cache: undo_block(self, doutput, cache, second=False)


@mutant("student", EncoderBlock)
def block_loss_on_scores_ignored(right):
    """The block does not hand the scores' cotangent to its attention."""
    return lambda self, doutput, cache: right(self, doutput._replace(scores=None), cache)


@mutant("student/no scores", EncoderBlock)
def block_dropout_not_undone(right):
    """The residual branch's dropout is passed over."""
    return lambda self, doutput, cache: right(
        self, doutput, cache._replace(merge_1=cache.merge_1._replace(dropout=DropoutCache(None)))
    )


@mutant("student", MultiHeadAttention)
def self_attention_without_the_keys_path(right):
    """x feeds queries, keys and values; only two of the three come back."""

    def backward(self, doutput, cache):
        k = cache.key_value.k
        blind = cache.key_value._replace(k=k._replace(w=np.zeros_like(k.w)))
        return right(self, doutput, cache._replace(key_value=blind))

    return backward


@mutant("student", MultiHeadAttention)
def heads_split_without_a_transpose(right):
    """The gradient's heads are cut from the tokens: (B, T, D) reshaped to (B, H, T, K) at once."""

    def backward(self, doutput, cache):
        def cut(x, num_heads):
            batch, length, width = x.shape
            return x.reshape(batch, num_heads, length, width // num_heads)

        split, attention_layer.split_heads = attention_layer.split_heads, cut
        try:
            return right(self, doutput, cache)
        finally:
            attention_layer.split_heads = split

    return backward


@mutant("student", MultiHeadAttention)
def query_and_key_gradients_swapped(right):
    """Of one shape, so that nothing but the numbers tells."""

    def backward(self, doutput, cache):
        dinput, g = right(self, doutput, cache)
        return dinput, g | {"w_q": g["w_k"], "w_k": g["w_q"]}

    return backward


@mutant("student", Embeddings)
def segment_gradient_missing(right):
    """The segment table is forgotten."""

    def backward(self, dy, cache):
        dinput, g = right(self, dy, cache)
        return dinput, g | {"segment": np.zeros_like(g["segment"])}

    return backward


@mutant("student", Embeddings)
def position_gradient_averaged(right):
    """The positions get the mean over the batch."""

    def backward(self, dy, cache):
        dinput, g = right(self, dy, cache)
        return dinput, g | {"position": g["position"] / len(dy)}

    return backward


@mutant("student", Embeddings)
def embeddings_dropout_not_undone(right):
    """The gradient enters the layer norm without the dropout mask."""
    return lambda self, dy, cache: right(self, dy, cache._replace(dropout=DropoutCache(None)))


@mutant("encoder/factorised table", Embeddings)
def projection_of_what_was_not_dropped(right):
    """The map's gradient is taken with what came before the norm's scale and the dropout."""

    def backward(self, dy, cache):
        whole = cache.projection._replace(x=cache.norm.xhat)
        _, g = right(self, dy, cache)
        _, dw, _ = linear_backward(dy, whole)
        return None, g | {"projection.w": dw}

    return backward


@mutant("encoder/factorised table", Embeddings)
def projection_of_the_first_token(right):
    """The map's bias is added at every token and gets the gradient of the first."""

    def backward(self, dy, cache):
        _, g = right(self, dy, cache)
        return None, g | {"projection.b": dy[:, 0].sum(axis=0)}

    return backward


@mutant("masked LM/factorised table", masked_lm, "layernorm_backward")
def head_norm_as_wide_as_the_model(right):
    """The head's norm is undone as if its means were over D, and not over the table's E."""

    def backward(dy, cache):
        dx, dgamma, dbeta = right(dy, cache)
        without_means = dy * cache.gamma * cache.rstd
        return (
            without_means + (dx - without_means) * cache.xhat.shape[-1] / SIZES["D"],
            dgamma,
            dbeta,
        )

    return backward


@mutant("masked LM/factorised table", masked_lm, "linear_backward")
def narrow_table_without_the_decoder(right):
    """The narrow token table gets the gradient of the embedding only."""

    def backward(dy, cache):
        dx, dw, db = right(dy, cache)
        return dx, 0 * dw if cache.w.base is not None else dw, db

    return backward


@mutant("student", Encoder)
def hidden_gradients_one_layer_off(right):
    """The cotangent of hidden[l] enters at hidden[l - 1] (hidden has L + 1 entries)."""

    def backward(self, doutput, cache, dlast=None):
        hidden = doutput.hidden
        return right(self, doutput._replace(hidden=(*hidden[1:], hidden[0])), cache, dlast)

    return backward


@mutant("student", Encoder)
def score_gradients_in_reverse(right):
    """The layers are walked backwards and the scores' cotangents forwards."""

    def backward(self, doutput, cache, dlast=None):
        return right(self, doutput._replace(scores=doutput.scores[::-1]), cache, dlast)

    return backward


@mutant("student", Encoder)
def hidden_gradients_of_the_last_layer_only(right):
    """Losses on the layers between never reach the weights."""

    def backward(self, doutput, cache, dlast=None):
        silent = (None,) * self.config.num_layers
        return right(self, doutput._replace(hidden=(*silent, doutput.hidden[-1])), cache, dlast)

    return backward


@mutant("pre-LN", Norm)
def norms_not_undone(right):
    """The norms get their gradients and let the one for x pass unchanged."""
    return lambda self, dy, cache: (dy.copy(), right(self, dy, cache)[1])


@mutant("encoder/no biases", norm_layer, "rmsnorm_backward")
def rms_norm_undone_as_if_it_centred(right):
    """The mean of the gradient is taken off, as layer norm must."""

    def backward(dy, cache):
        dx, dgamma = right(dy, cache)
        return dx - dx.mean(axis=-1, keepdims=True), dgamma

    return backward


@mutant("student", Encoder)
def pooler_reads_the_last_token(right):
    """The pooler's gradient goes to the last token instead of [CLS]."""
    return lambda self, doutput, cache, dlast: right(
        self, doutput, cache, np.roll(dlast, -1, axis=1)
    )


@mutant("student", heads, "tanh_backward")
def pooler_tanh_not_undone(right):
    """The pooler is taken for linear."""
    return lambda dy, cache: dy.copy()


@mutant("masked LM", masked_lm, "linear_backward")
def tied_table_without_the_decoder(right):
    """The token table gets the gradient of the embedding only."""

    def backward(dy, cache):
        dx, dw, db = right(dy, cache)
        return dx, 0 * dw if cache.w.base is not None else dw, db

    return backward


@mutant("masked LM", Encoder)
def tied_table_without_the_embedding(right):
    """The token table gets the gradient of the decoder only."""

    def backward(self, doutput, cache, dlast):
        dinput, g = right(self, doutput, cache, dlast)
        return dinput, g | {"embeddings.token": 0 * g["embeddings.token"]}

    return backward


@mutant("hidden term", HiddenTerm)
def shared_projection_of_one_level(right):
    """The projection that two levels share gets the gradient of one."""

    def backward(self, dvalue, cache):
        dstudent, _ = right(self, dvalue, cache)
        one = cache._replace(projected=cache.projected[:1], errors=cache.errors[:1])
        _, g = right(HiddenTerm(self.levels[:1], self.projections[:1], self.params), dvalue, one)
        return dstudent, g

    return backward


@mutant("hidden term", HiddenTerm)
def hidden_gradient_at_the_wrong_level(right):
    """hidden[m - 1] gets the gradient of hidden[m]."""

    def backward(self, dvalue, cache):
        dstudent, g = right(self, dvalue, cache)
        first, *rest = dstudent.hidden
        return dstudent._replace(hidden=(*rest, first)), g

    return backward


@mutant("attention term", scores_term, "mse_backward")
def scores_term_not_averaged_over_heads(right):
    """The heads are summed."""
    return lambda dloss, cache: right(dloss, cache) * cache.error.shape[1]


@mutant("attention term/groups of heads", scores_term, "mse_backward")
def scores_term_shared_out_among_the_group(right):
    """Each student's head gets the gradient of one head of its group of two."""
    return lambda dloss, cache: right(dloss, cache) / 2


@mutant("prediction term/released", PredictionTerm)
def prediction_not_divided_by_the_classes(right):
    """Forward divides by C, backward does not."""

    def backward(self, dvalue, cache):
        dstudent, g = right(self, dvalue, cache)
        return dstudent._replace(logits=dstudent.logits * dstudent.logits.shape[-1]), g

    return backward


@mutant("seq2seq", DecoderBlock)
def memory_taken_for_the_target(right):
    """The memory's gradient is forgotten: the encoder learns nothing from this layer."""

    def backward(self, doutput, cache):
        (dx, dmemory, dbias), g = right(self, doutput, cache)
        return (dx, np.zeros_like(dmemory), dbias), g

    return backward


@mutant("seq2seq", Seq2Seq, "decode_backward")
def memory_gradient_averaged(right):
    """The mean over the decoder's layers in the place of the sum."""

    def backward(self, doutput, cache):
        dmemory, g = right(self, doutput, cache)
        return dmemory / self.config.num_decoder_layers, g

    return backward


@mutant("seq2seq/shared, pre-LN", Seq2Seq)
def shared_table_without_the_source(right):
    """Of the three places the shared table stands in, the source is forgotten."""

    def backward(self, doutput, cache):
        _, g = right(self, doutput, cache)
        dmemory, _ = self.decode_backward(doutput, cache.decode)
        _, encoder = self.encode_backward(doutput.encoder, cache.encode, dmemory)
        g["embeddings.token"] = g["embeddings.token"] - encoder["embeddings.token"]
        return None, g

    return backward


@mutant("seq2seq/learned positions", TokenEmbeddings)
def token_gradient_not_scaled(right):
    """The forward multiplies the tokens by sqrt(D), the backward does not."""

    def backward(self, dy, cache):
        _, g = right(self, dy, cache)
        return None, g | {"token": g["token"] / self.config.d_model**0.5}

    return backward


@mutant("causal LM", CausalLM)
def tied_table_as_input_alone(right):
    """The table is tied and its gradient as the output matrix is forgotten."""

    def backward(self, doutput, cache):
        _, g = right(self, doutput, cache)
        if doutput.logits is None:
            return None, g
        _, dtable, _ = linear_backward(doutput.logits, cache.output)
        return None, g | {"embeddings.token": g["embeddings.token"] - dtable.T}

    return backward


@mutant("encoder/rotary", MultiHeadAttention)
def keys_not_turned_back(right):
    """The queries' gradient is turned back, the keys' is not."""

    def backward(self, doutput, cache):
        turn = cache.key_value.turn
        still = turn._replace(cos=np.ones_like(turn.cos), sin=np.zeros_like(turn.sin))
        return right(self, doutput, cache._replace(key_value=cache.key_value._replace(turn=still)))

    return backward


@mutant("seq2seq/average", MultiHeadAttention)
def average_taken_for_the_mean_over_everything(right):
    """Backward spreads the gradient over all positions, the forward averaged those kept."""

    def backward(self, doutput, cache):
        plain = cache.attend.attention
        flat = np.full_like(plain.softmax.probs, 1 / plain.softmax.probs.shape[-1])
        wrong = plain._replace(mix=plain.mix._replace(probs=flat))
        attend = cache.attend._replace(attention=wrong)
        return right(self, doutput, cache._replace(attend=attend))

    return backward


@mutant("encoder/T5 bias", Encoder)
def shared_bias_of_the_first_layer(right):
    """All layers read the bias, and only the first one's gradient reaches the table."""

    def backward(self, doutput, cache, dlast):
        _, g = right(self, doutput, cache, dlast)
        undo, i = EncoderBlock.backward, self.config.num_layers

        def undo_counted(block, doutput, cache):
            nonlocal i
            (dx, dbias), grads = undo(block, doutput, cache)
            i -= 1
            return (dx, dbias if i == 0 else 0 * dbias), grads

        EncoderBlock.backward = undo_counted
        try:
            return None, g | {
                "relative_bias": right(self, doutput, cache, dlast)[1]["relative_bias"]
            }
        finally:
            EncoderBlock.backward = undo

    return backward


@mutant("seq2seq/T5 bias", Seq2Seq, "decode_backward")
def shared_bias_averaged(right):
    """The mean over the decoder's layers in the place of the sum."""

    def backward(self, doutput, cache):
        dmemory, g = right(self, doutput, cache)
        name = "decoder.relative_bias"
        return dmemory, g | {name: g[name] / self.config.num_decoder_layers}

    return backward


@mutant("causal LM/T5 bias", CausalLM)
def shared_bias_read_on_both_sides(right):
    """The table's gradient is looked up as an encoder would, keys after the query apart."""

    def backward(self, doutput, cache):
        shared = cache.stack.shared
        ids = shared.lookup.ids
        moved = shared.lookup._replace(ids=np.where(ids > 0, ids - 1, ids))
        stack = cache.stack._replace(shared=shared._replace(lookup=moved))
        return right(self, doutput, cache._replace(stack=stack))

    return backward


@mutant("seq2seq/Shaw", MultiHeadAttention)
def relative_tables_swapped(right):
    """Of one shape, so that nothing but the numbers tells."""

    def backward(self, doutput, cache):
        dinput, g = right(self, doutput, cache)
        return dinput, g | ({"rel_k": g["rel_v"], "rel_v": g["rel_k"]} if "rel_k" in g else {})

    return backward


@mutant("encoder/rotary, partial", MultiHeadAttention)
def turned_back_in_the_other_layout(right):
    """Forward turns neighbours, backward turns the halves."""

    def backward(self, doutput, cache):
        query, key_value = (
            side._replace(turn=side.turn._replace(interleaved=False))
            for side in (cache.query, cache.key_value)
        )
        return right(self, doutput, cache._replace(query=query, key_value=key_value))

    return backward


@mutant("causal LM/one head of keys", feedforward_layer, "gate_backward")
def gate_lets_nothing_back(right):
    """What passes the gate gets no gradient, only the gate itself."""
    return lambda dy, cache: (right(dy, cache)[0], np.zeros_like(dy))


@mutant("encoder/DeBERTa", Encoder)
def shared_table_of_the_first_layer(right):
    """All layers read the table, and only the first one's gradient reaches it."""

    def backward(self, doutput, cache, dlast):
        _, g = right(self, doutput, cache, dlast)
        seen = []
        undo = EncoderBlock.backward

        def undo_noted(block, doutput, cache):
            (dx, dtable), grads = undo(block, doutput, cache)
            seen.append(dtable)
            return (dx, dtable), grads

        EncoderBlock.backward = undo_noted
        try:
            right(self, doutput, cache, dlast)
        finally:
            EncoderBlock.backward = undo
        return None, g | {"relative_embeddings": seen[-1]}

    return backward


@mutant("seq2seq/as T5", Seq2Seq, "decode_backward")
def scale_of_the_output_forgotten(right):
    """The states are divided by sqrt(D) before the table, their gradient is not."""

    def backward(self, doutput, cache):
        plain = Seq2Seq(dataclasses.replace(self.config, scale_output=False), self.params)
        return right(plain, doutput, cache)

    return backward
