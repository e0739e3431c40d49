"""Wrong backwards of linear, the broadcast sum, activations, norms, dropout and embedding."""

import math

import numpy as np

from mutants.registry import mutant
from npformer import ops


@mutant("linear", "transpose")
def linear_dw_transposed(dy, cache):
    """The weight gradient as PyTorch stores it, (O, I)."""
    dx, dw, db = ops.linear_backward(dy, cache)
    return dx, dw.T, db


@mutant("linear", "missing broadcast sum")
def linear_db_not_summed(dy, cache):
    """The bias gradient is not summed over the rows."""
    dx, dw, _ = ops.linear_backward(dy, cache)
    return dx, dw, dy.copy()


@mutant("linear", "constant factor")
def linear_db_averaged(dy, cache):
    """The bias gradient is the mean over the rows."""
    dx, dw, _ = ops.linear_backward(dy, cache)
    return dx, dw, dy.mean(axis=(0, 1))


@mutant("linear", "constant factor")
def linear_dw_divided_by_the_batch(dy, cache):
    """The batch size is divided by twice: in the loss and here."""
    dx, dw, db = ops.linear_backward(dy, cache)
    return dx, dw / len(dy), db


@mutant("linear")
def linear_dw_of_the_first_sequence(dy, cache):
    """Only the first sequence of the batch reaches the weights."""
    dx, _, db = ops.linear_backward(dy, cache)
    return dx, cache.x[0].T @ dy[0], db


@mutant("linear", "zero")
def linear_dx_forgotten(dy, cache):
    """Nothing is sent down."""
    dx, dw, db = ops.linear_backward(dy, cache)
    return np.zeros_like(dx), dw, db


@mutant("broadcast_add", "missing broadcast sum")
def broadcast_add_not_summed(dy, cache):
    """The bias gets one gradient for every entry it was added to."""
    return dy.copy(), dy.copy()


@mutant("broadcast_add")
def broadcast_add_over_the_batch_alone(dy, cache):
    """Of two repeated axes the first is summed; of the other one entry is taken."""
    return dy.copy(), dy.sum(axis=0)[0]


@mutant("broadcast_add/axes of length 1", "constant factor")
def broadcast_add_averaged(dy, cache):
    """The mean over what was repeated."""
    dx, dbias = ops.broadcast_add_backward(dy, cache)
    return dx, dbias / (dy.size / dbias.size)


@mutant("relu")
def relu_gates_the_gradient(dy, cache):
    """The gate looks at the sign of the gradient, not of the input ("guided" backpropagation)."""
    return dy * (dy > 0)


@mutant("relu", "mask ignored")
def relu_gate_ignored(dy, cache):
    """Everything passes."""
    return dy.copy()


@mutant("gelu")
def gelu_tanh_derivative(dy, cache):
    """The derivative of the tanh approximation under the exact forward."""
    x = cache.x
    c = math.sqrt(2 / math.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x))


@mutant("gelu")
def gelu_density_term_missing(dy, cache):
    """Phi is taken for a constant."""
    return dy * cache.cdf


@mutant("gelu")
def gelu_density_without_x(dy, cache):
    """The product rule loses its x."""
    return dy * (cache.cdf + np.exp(-(cache.x**2) / 2) / math.sqrt(2 * math.pi))


@mutant("gelu")
def gelu_density_not_normalised(dy, cache):
    """The density lacks 1/sqrt(2 pi)."""
    return dy * (cache.cdf + cache.x * np.exp(-(cache.x**2) / 2))


@mutant("gelu_tanh")
def gelu_tanh_derivative_of_the_exact_one(dy, cache):
    """Phi + x phi under the approximate forward: the other way round."""
    return ops.gelu_backward(dy, ops.gelu_forward(cache.x)[1])


@mutant("gelu_tanh")
def gelu_tanh_cube_forgotten(dy, cache):
    """u' without 3 c x^2."""
    x, t = cache
    return 0.5 * dy * (1 + t + x * (1 - t * t) * math.sqrt(2 / math.pi))


@mutant("tanh")
def tanh_square_missing(dy, cache):
    """1 - y instead of 1 - y^2."""
    return dy * (1 - cache.y)


@mutant("tanh")
def tanh_derivative_at_the_output(dy, cache):
    """The output is taken for the input and squashed again."""
    return dy * (1 - np.tanh(cache.y) ** 2)


@mutant("sigmoid")
def sigmoid_complement_missing(dy, cache):
    """y instead of y (1 - y)."""
    return dy * cache.y


@mutant("silu")
def silu_gate_taken_for_constant(dy, cache):
    """The gate's own derivative is missing."""
    return dy * cache.gate


@mutant("silu")
def silu_gate_derivative_without_x(dy, cache):
    """The product rule loses its x."""
    return dy * (cache.gate + cache.gate * (1 - cache.gate))


@mutant("layernorm")
def layernorm_gamma_dropped(dy, cache):
    """dx starts from dy, not from dy * gamma."""
    _, dgamma, dbeta = ops.layernorm_backward(dy, cache)
    dx, _, _ = ops.layernorm_backward(dy, cache._replace(gamma=np.ones_like(cache.gamma)))
    return dx, dgamma, dbeta


@mutant("layernorm")
def layernorm_gamma_outside_the_means(dy, cache):
    """gamma is multiplied on at the end, after the means were taken."""
    _, dgamma, dbeta = ops.layernorm_backward(dy, cache)
    dx, _, _ = ops.layernorm_backward(dy, cache._replace(gamma=np.ones_like(cache.gamma)))
    return dx * cache.gamma, dgamma, dbeta


@mutant("layernorm")
def layernorm_mean_term_missing(dy, cache):
    """x moves its own mean; that path is left out."""
    dx, dgamma, dbeta = ops.layernorm_backward(dy, cache)
    return dx + (dy * cache.gamma).mean(-1, keepdims=True) * cache.rstd, dgamma, dbeta


@mutant("layernorm")
def layernorm_variance_term_missing(dy, cache):
    """x moves its own variance; that path is left out."""
    dx, dgamma, dbeta = ops.layernorm_backward(dy, cache)
    along = (dy * cache.gamma * cache.xhat).mean(-1, keepdims=True)
    return dx + cache.xhat * along * cache.rstd, dgamma, dbeta


@mutant("layernorm")
def layernorm_means_taken_for_constants(dy, cache):
    """Mean and variance are taken for constants: only the direct path is left."""
    _, dgamma, dbeta = ops.layernorm_backward(dy, cache)
    return dy * cache.gamma * cache.rstd, dgamma, dbeta


@mutant("layernorm")
def layernorm_scale_forgotten(dy, cache):
    """One over the standard deviation is missing."""
    dx, dgamma, dbeta = ops.layernorm_backward(dy, cache)
    return dx / cache.rstd, dgamma, dbeta


@mutant("layernorm")
def layernorm_unbiased_variance(dy, cache):
    """The variance term divides by D - 1, as a sample variance would."""
    dx, dgamma, dbeta = ops.layernorm_backward(dy, cache)
    along = (dy * cache.gamma * cache.xhat).mean(-1, keepdims=True)
    return dx - cache.xhat * along * cache.rstd / (dy.shape[-1] - 1), dgamma, dbeta


@mutant("layernorm")
def layernorm_means_over_the_wrong_axis(dy, cache):
    """The means run over the tokens."""
    _, dgamma, dbeta = ops.layernorm_backward(dy, cache)
    g, xhat = dy * cache.gamma, cache.xhat
    dx = g - g.mean(1, keepdims=True) - xhat * (g * xhat).mean(1, keepdims=True)
    return dx * cache.rstd, dgamma, dbeta


@mutant("layernorm/eps")
def layernorm_projection_forgets_eps(dy, cache):
    """The variance term takes xhat for a vector of variance exactly one, as if eps were 0."""
    _, dgamma, dbeta = ops.layernorm_backward(dy, cache)
    g = dy * cache.gamma
    unit = cache.xhat / cache.xhat.std(-1, keepdims=True)
    dx = g - g.mean(-1, keepdims=True) - unit * (g * unit).mean(-1, keepdims=True)
    return dx * cache.rstd, dgamma, dbeta


@mutant("layernorm")
def layernorm_dgamma_without_xhat(dy, cache):
    """gamma gets beta's gradient."""
    dx, _, dbeta = ops.layernorm_backward(dy, cache)
    return dx, dbeta.copy(), dbeta


@mutant("layernorm")
def layernorm_dgamma_of_the_centred_input(dy, cache):
    """dgamma sees the centred input before its division by the standard deviation."""
    dx, _, dbeta = ops.layernorm_backward(dy, cache)
    return dx, (dy * cache.xhat / cache.rstd).sum(axis=(0, 1)), dbeta


@mutant("layernorm", "missing broadcast sum")
def layernorm_dbeta_keeps_the_tokens(dy, cache):
    """dbeta is summed over the batch alone."""
    dx, dgamma, _ = ops.layernorm_backward(dy, cache)
    return dx, dgamma, dy.sum(axis=0)


@mutant("rmsnorm")
def rmsnorm_projection_missing(dy, cache):
    """The root mean square is taken for a constant."""
    _, dgamma = ops.rmsnorm_backward(dy, cache)
    return dy * cache.gamma * cache.rrms, dgamma


@mutant("rmsnorm")
def rmsnorm_centred_like_layernorm(dy, cache):
    """The mean term of layer norm, which has no place here."""
    dx, dgamma = ops.rmsnorm_backward(dy, cache)
    return dx - (dy * cache.gamma).mean(-1, keepdims=True) * cache.rrms, dgamma


@mutant("rmsnorm")
def rmsnorm_projection_without_gamma(dy, cache):
    """The projection uses dy where it needs dy * gamma."""
    _, dgamma = ops.rmsnorm_backward(dy, cache)
    along = (dy * cache.xhat).mean(-1, keepdims=True)
    return (dy * cache.gamma - cache.xhat * along) * cache.rrms, dgamma


@mutant("dropout")
def dropout_mask_not_reused(dy, cache):
    """Backward draws a mask of its own."""
    return ops.dropout_forward(dy, 0.3, np.random.default_rng(8))[0]


@mutant("dropout", "mask ignored")
def dropout_mask_ignored(dy, cache):
    """What was dropped gets a gradient all the same."""
    return dy * cache.r.max()


@mutant("dropout", "constant factor")
def dropout_scale_forgotten(dy, cache):
    """1 / (1 - p) is missing."""
    return dy * (cache.r > 0)


@mutant("embedding")
def embedding_repeats_overwritten(dy, cache):
    """An id that occurs twice keeps its last gradient only."""
    dtable = np.zeros_like(cache.table)
    dtable[cache.ids] = dy
    return dtable


@mutant("embedding")
def embedding_repeats_buffered(dy, cache):
    """``+=`` on a fancy index adds once for each distinct id."""
    dtable = np.zeros_like(cache.table)
    dtable[cache.ids] += dy
    return dtable


@mutant("embedding")
def embedding_repeats_averaged(dy, cache):
    """An id that occurs twice gets the mean of its gradients."""
    counts = np.bincount(cache.ids.reshape(-1), minlength=len(cache.table))
    return ops.embedding_backward(dy, cache) / np.maximum(counts, 1)[:, None]


@mutant("embedding", "lost entries")
def embedding_padding_row_frozen(dy, cache):
    """Row 0 is taken for padding and gets nothing."""
    dtable = ops.embedding_backward(dy, cache)
    dtable[0] = 0
    return dtable


@mutant("gate")
def gate_factors_kept(dy, cache):
    """Each factor gets itself instead of the other."""
    return dy * cache.gate, dy * cache.x


@mutant("gate")
def gate_open(dy, cache):
    """The gate is taken for a constant."""
    return np.zeros_like(dy), dy * cache.gate
