"""Every pair of `npformer.ops` against PyTorch's own functions and autograd, in float64."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from dims import B, C, D, F, H, I, K, O, S, T, V

from npformer import ops

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity
fn = torch.nn.functional

TOLERANCE = 1e-10


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def mask(seed, *shape):
    keep = np.random.default_rng(seed).random(shape) < 0.6
    keep[..., 0] = True  # PyTorch gives NaN to a row that keeps nothing
    return keep


def close(ours, theirs, name=""):
    theirs = theirs.detach().numpy()
    assert np.shape(ours) == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE, err_msg=name)


def compare(ours, theirs, arguments, *, seed=99):
    """``ours(*arrays) -> (outputs, pull)``, ``theirs(*tensors) -> outputs``; both as tuples.

    Gradients of random cotangents on all outputs together.
    """
    outputs, pull = ours(*arguments)
    leaves = [torch.tensor(a, requires_grad=True) for a in arguments]
    expected = theirs(*leaves)
    assert len(outputs) == len(expected)
    rng = np.random.default_rng(seed)
    cotangents = []
    for y, wanted in zip(outputs, expected, strict=True):
        close(y, wanted)
        drawn = rng.standard_normal(np.shape(y))
        cotangents.append(drawn if np.ndim(y) else float(drawn))
    grads = torch.autograd.grad(
        expected, leaves, [torch.tensor(c, dtype=torch.float64) for c in cotangents]
    )
    result = pull(*cotangents)
    result = result if isinstance(result, tuple) else (result,)
    assert len(result) == len(leaves)
    for i, (g, wanted) in enumerate(zip(result, grads, strict=True)):
        assert np.abs(g).max() > 0
        close(g, wanted, f"argument {i}")


def pair(name, *before, **options):
    """Our pair as `compare` wants it; ``before`` are arguments without a gradient, given first."""
    forward, backward = getattr(ops, f"{name}_forward"), getattr(ops, f"{name}_backward")

    def ours(*arrays):
        *outputs, cache = forward(*before, *arrays, **options)
        return outputs, lambda *cotangents: backward(*cotangents, cache)

    return ours


# Floors of the network


def test_linear():
    arrays = normal(1, B, T, I), normal(2, I, O), normal(3, O)
    compare(pair("linear"), lambda x, w, b: (fn.linear(x, w.T, b),), arrays)


@pytest.mark.parametrize("shape", [(D,), (T, D), (T, 1), (B, 1, D), (1, 1, 1)], ids=str)
def test_broadcast_add(shape):
    compare(pair("broadcast_add"), lambda x, b: (x + b,), [normal(4, B, T, D), normal(5, *shape)])


@pytest.mark.parametrize("name", ["relu", "gelu", "tanh", "sigmoid", "silu"])
def test_activations(name):
    theirs = getattr(fn, name, None) or getattr(torch, name)
    compare(pair(name), lambda x: (theirs(x),), [3 * normal(4, B, T, D)])


def test_gelu_by_a_tanh():
    theirs = lambda x: (fn.gelu(x, approximate="tanh"),)  # noqa: E731
    compare(pair("gelu_tanh"), theirs, [3 * normal(4, B, T, D)])


def test_gate():
    """SwiGLU: the gate is silu of its map."""
    x, w, v = normal(47, B, T, I), normal(48, I, O), normal(49, I, O)

    def ours(x, w, v):
        h, h_cache = ops.linear_forward(x, w)
        a, a_cache = ops.silu_forward(h)
        u, u_cache = ops.linear_forward(x, v)
        y, y_cache = ops.gate_forward(a, u)

        def back(dy):
            da, du = ops.gate_backward(dy, y_cache)
            dx_u, dv, _ = ops.linear_backward(du, u_cache)
            dx_h, dw, _ = ops.linear_backward(ops.silu_backward(da, a_cache), h_cache)
            return dx_h + dx_u, dw, dv

        return [y], back

    compare(ours, lambda x, w, v: (fn.silu(x @ w) * (x @ v),), [x, w, v])


def test_repeat_heads():
    x = normal(50, B, H, S, K)
    theirs = lambda x: (x.repeat_interleave(3, dim=1),)  # noqa: E731
    compare(pair("repeat_heads", num_heads=3 * H), theirs, [x])


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_softmax(axis):
    x = 3 * normal(5, B, T, S)
    compare(pair("softmax", axis=axis), lambda x: (fn.softmax(x, axis),), [x])
    compare(pair("log_softmax", axis=axis), lambda x: (fn.log_softmax(x, axis),), [x])


@pytest.mark.parametrize("shape", [(B, 1, 1, S), (B, 1, T, S), (1, 1, T, S), (B, H, T, S)])
def test_masked_softmax(shape):
    keep = mask(6, *shape)
    hidden = torch.tensor(~keep)

    def theirs(scores):
        return (scores.masked_fill(hidden, -math.inf).softmax(-1),)

    compare(pair("masked_softmax", keep=keep), theirs, [3 * normal(7, B, H, T, S)])


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.3])
def test_layernorm(eps):
    arrays = 2 * normal(8, B, T, D) + 3, normal(9, D), normal(10, D)
    theirs = lambda x, gamma, beta: (fn.layer_norm(x, (D,), gamma, beta, eps),)  # noqa: E731
    compare(pair("layernorm", eps=eps), theirs, arrays)


def test_rmsnorm():
    def theirs(x, gamma):
        return (x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 0.1) * gamma,)

    compare(pair("rmsnorm", eps=0.1), theirs, [normal(11, B, T, D), normal(12, D)])


def test_dropout():
    r = ops.dropout_forward(np.ones((B, T, D)), 0.3, np.random.default_rng(13))[0]

    def ours(x):
        y, cache = ops.dropout_forward(x, 0.3, np.random.default_rng(13))
        return [y], lambda dy: ops.dropout_backward(dy, cache)

    assert set(np.unique(r)) == {0, 1 / (1 - 0.3)}
    compare(ours, lambda x: (x * torch.tensor(r),), [normal(14, B, T, D)])


def test_embedding():
    ids = np.random.default_rng(15).integers(0, V, (B, T))
    ids[1, 2] = ids[0, 1]
    compare(
        pair("embedding", ids), lambda t: (fn.embedding(torch.tensor(ids), t),), [normal(16, V, D)]
    )


def test_sinusoidal():
    def theirs(x):
        rates = 100.0 ** (-torch.arange(0, D, 2, dtype=x.dtype) / D)
        angles = torch.arange(T, dtype=x.dtype)[:, None] * rates
        return (x + torch.stack([angles.sin(), angles.cos()], -1).reshape(T, D),)

    compare(pair("sinusoidal", base=100.0), theirs, [normal(17, B, T, D)])


# Attention


def reference_attention(q, k, v, bias, keep, scale, r):
    scores = scale * (q @ k.mT) + bias
    probs = scores.masked_fill(~keep, -math.inf).softmax(-1) * r
    return probs @ v, scores


@pytest.mark.parametrize("p_drop", [0.0, 0.4])
@pytest.mark.parametrize("bias_shape", [(B, H, T, S), (1, H, T, S), (1, 1, T, S)])
def test_attention(p_drop, bias_shape):
    """With gradients on the context and on the scores, a mask, a bias and dropout."""
    q, k, v = normal(18, B, H, T, K), normal(19, B, H, S, K), normal(20, B, H, S, D)
    bias, keep = normal(21, *bias_shape), mask(22, B, 1, T, S)
    r = ops.dropout_forward(np.ones((B, H, T, S)), p_drop, np.random.default_rng(23))[0]

    def ours(q, k, v, bias):
        ctx, scores, cache = ops.attention_forward(
            q, k, v, keep, bias, scale=0.7, p_drop=p_drop, rng=np.random.default_rng(23)
        )
        return [ctx, scores], lambda *cotangents: ops.attention_backward(*cotangents, cache)

    def theirs(q, k, v, bias):
        return reference_attention(q, k, v, bias, torch.tensor(keep), 0.7, torch.tensor(r))

    compare(ours, theirs, [q, k, v, bias])


@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("block", [None, 1, 3])
def test_scaled_dot_product_attention(scale, block):
    """The plain pair, and the blockwise one."""
    q, k, v = normal(24, B, H, T, K), normal(25, B, H, S, K), normal(26, B, H, S, D)
    bias, keep = normal(27, B, 1, T, S), mask(28, B, 1, 1, S)

    def ours(q, k, v, *bias):
        if block is None:
            ctx, _, cache = ops.attention_forward(q, k, v, keep, *bias, scale=scale)
            grads = partial(ops.attention_backward, dscores=None, cache=cache)
        else:
            ctx, cache = ops.blockwise_attention_forward(
                q, k, v, keep, *bias, scale=scale, block=block
            )
            grads = partial(ops.blockwise_attention_backward, cache=cache)
        return [ctx], lambda dctx: grads(dctx)[: 3 + len(bias)]

    def with_bias(q, k, v, bias):
        both = bias.masked_fill(torch.tensor(~keep), -math.inf)
        return (fn.scaled_dot_product_attention(q, k, v, both, scale=scale),)

    def without(q, k, v):
        allowed = torch.tensor(np.broadcast_to(keep, (B, H, T, S)))
        return (fn.scaled_dot_product_attention(q, k, v, allowed, scale=scale),)

    compare(ours, with_bias, [q, k, v, bias])
    compare(ours, without, [q, k, v])


def test_the_two_halves_of_attention():
    q, k, v = normal(29, B, H, T, K), normal(30, B, H, S, K), normal(31, B, H, S, D)

    def ours(q, k, bias):
        scores, cache = ops.attention_scores_forward(q, k, bias)
        return [scores], lambda dscores: ops.attention_scores_backward(dscores, cache)

    def theirs(q, k, bias):
        return (q @ k.mT / math.sqrt(K) + bias,)

    compare(ours, theirs, [q, k, normal(32, B, 1, 1, S)])
    compare(pair("attention_mix"), lambda p, v: (p @ v,), [normal(33, B, H, T, S), v])


# Losses


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("ignore_index", [-100, 2])
def test_cross_entropy(smoothing, ignore_index):
    for shape in ((F,), (B, T)):
        labels = np.random.default_rng(34).integers(0, C, shape)
        labels.flat[[1, -1]] = ignore_index
        options = {"ignore_index": ignore_index, "label_smoothing": smoothing}

        def theirs(logits, labels=labels, options=options):
            return (
                fn.cross_entropy(
                    logits.reshape(-1, C), torch.tensor(labels.reshape(-1)), **options
                ),
            )

        compare(pair("cross_entropy", labels=labels, **options), theirs, [normal(35, *shape, C)])


@pytest.mark.parametrize("tau", [1.0, 0.5, 4.0])
def test_soft_targets(tau):
    teacher = 2 * normal(36, F, C)
    soft = fn.softmax(torch.tensor(teacher) / tau, -1)
    divergence = torch.nn.KLDivLoss(reduction="batchmean")
    options = {"teacher_logits": teacher, "tau": tau}
    student = [normal(37, F, C)]

    def cross_entropy(z):
        return (fn.cross_entropy(z / tau, soft),)

    def kl(z):
        return (tau**2 * divergence(fn.log_softmax(z / tau, -1), soft),)

    compare(pair("soft_cross_entropy", **options), cross_entropy, student)
    compare(pair("kl", **options, tau_squared=True), kl, student)


def test_soft_targets_of_kept_tokens():
    teacher, keep = normal(38, B, T, C), mask(39, B, T)
    rows = torch.tensor(keep)

    def theirs(z):
        soft = fn.log_softmax(torch.tensor(teacher) / 3, -1)[rows]
        return (fn.kl_div(fn.log_softmax(z / 3, -1)[rows], soft, None, None, "batchmean", True),)

    options = {"teacher_logits": teacher, "tau": 3.0, "keep": keep}
    compare(pair("kl", **options), theirs, [normal(40, B, T, C)])


def test_mse():
    target, keep = normal(41, B, T, D), mask(42, B, T, 1)
    rows = torch.tensor(keep[..., 0])
    x, wanted = [normal(43, B, T, D)], torch.tensor(target)
    compare(pair("mse", target=target), lambda x: (fn.mse_loss(x, wanted),), x)
    theirs = lambda x: (fn.mse_loss(x[rows], wanted[rows]),)  # noqa: E731
    compare(pair("mse", target=target, keep=keep), theirs, x)


def test_cosine():
    target, keep = normal(44, B, T, D), mask(45, B, T)
    rows = torch.tensor(keep)
    wanted = torch.tensor(target)

    def theirs(x):
        return (1 - fn.cosine_similarity(x[rows], wanted[rows], dim=-1).mean(),)

    compare(pair("cosine", target=target, keep=keep), theirs, [normal(46, B, T, D)])


def test_patient():
    target, keep = normal(47, B, T, D), mask(48, B, T)
    rows = torch.tensor(keep)
    unit = fn.normalize(torch.tensor(target), dim=-1)

    def theirs(x):
        return (fn.mse_loss(fn.normalize(x[rows], dim=-1), unit[rows]),)

    compare(pair("patient", target=target, keep=keep), theirs, [normal(49, B, T, D)])


def log_attention(scores, pairs):
    """Logarithms of the rows that keep something, and what they keep."""
    some = pairs.any(-1)
    return fn.log_softmax(scores.masked_fill(~pairs, -1e300)[some], -1), pairs[some]


def divergence(student, teacher, pairs):
    """Mean over rows of KL(teacher, student)."""
    student, kept = log_attention(student, pairs)
    teacher, _ = log_attention(teacher, pairs)
    terms = teacher.exp() * (teacher - student)
    return terms.where(kept, 0).sum(-1).mean()


def test_attention_kl():
    teacher, keep = normal(50, B, H, T, S), mask(51, B, 1, T, S)
    keep[1, 0, 2] = False
    pairs = torch.tensor(np.broadcast_to(keep, teacher.shape).copy())
    theirs = lambda x: (divergence(x, torch.tensor(teacher), pairs),)  # noqa: E731
    student = [normal(52, B, H, T, S)]
    compare(pair("attention_kl", teacher_scores=teacher, keep=keep), theirs, student)


def test_value_relation():
    teacher, keep = normal(53, B, H, T, I), mask(54, B, T)
    rows = keep[:, None, :, None] & keep[:, None, None, :]
    pairs = torch.tensor(np.broadcast_to(rows, (B, H, T, T)).copy())

    def relation(v):
        return v @ v.transpose(-1, -2) / math.sqrt(v.shape[-1])

    theirs = lambda x: (divergence(relation(x), relation(torch.tensor(teacher)), pairs),)  # noqa: E731
    student = [normal(55, B, H, T, K)]
    compare(pair("value_relation", teacher_v=teacher, keep=keep), theirs, student)


def test_every_pair_is_here():
    files = (Path(__file__), Path(__file__).with_name("test_positions_torch.py"))
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    special = {"relu", "gelu", "tanh", "sigmoid", "silu"}  # named in a list
    for name in vars(ops):
        if name.endswith("_forward") and name.removesuffix("_forward") not in special:
            own = name.removesuffix("_forward")
            assert f'pair("{own}"' in text or f"ops.{name}(" in text, own
