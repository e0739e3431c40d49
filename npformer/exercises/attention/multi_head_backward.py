"""Multi-head self-attention as a layer: the gradient of its input and of its eight arrays."""

import numpy as np

from npformer import layers
from npformer.exercises.attention.draw import padding, projections
from npformer.exercises.by_hand import masked_softmax, merge, softmax_backward, split, transpose
from npformer.exercises.exercise import Case, Exercise


def multi_head_backward(dy, x, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o, num_heads):
    """Return dx, dw_q, db_q, dw_k, db_k, dw_v, db_v, dw_o, db_o.

    dy, x: (B, T, D); keep: boolean (B, T), True = real token; each w: (D, D); each b: (D,).
    """
    params = {"w_q": w_q, "b_q": b_q, "w_k": w_k, "b_k": b_k}
    params |= {"w_v": w_v, "b_v": b_v, "w_o": w_o, "b_o": b_o}
    config = layers.AttentionConfig(d_model=x.shape[-1], num_heads=num_heads)
    attention = layers.MultiHeadAttention(config, params)
    _, cache = attention.forward(x, keep=keep)
    (dx, _, _), grads = attention.backward(layers.AttentionOutput(dy, None), cache)
    return dx, *(grads[name] for name in params)


def multi_head_backward_cases(rng):
    """Return several numbers of heads, without padding, with it, and with nothing else."""

    def case(b, h, t, k, part=""):
        arrays = {
            "dy": rng.normal(size=(b, t, h * k)),
            "x": rng.normal(size=(b, t, h * k)),
            "keep": padding(rng, b, t),
            **projections(rng, h * k),
            "num_heads": h,
        }
        return Case(arrays, part)

    full, empty = case(2, 3, 5, 7).args, case(2, 3, 5, 7).args
    return [
        case(2, 3, 5, 7),
        case(3, 5, 7, 2),
        case(2, 1, 5, 7, "one head"),
        Case({**full, "keep": np.ones((2, 5), bool)}, "no padding"),
        Case({**empty, "keep": empty["keep"] & [[True], [False]]}, "an all-padding sequence"),
    ]


# The layer in pieces, so that a wrong function is this one with one piece exchanged.
RIGHT = {
    "kept": lambda keep: keep,
    "merged": merge,
    "softmax_undone": softmax_backward,
    "scale_undone": lambda dscores, c: c * dscores,
    "output_undone": lambda dy, w_o: dy @ w_o.T,
    "dx": lambda dq, dk, dv, w_q, w_k, w_v: dq @ w_q.T + dk @ w_k.T + dv @ w_v.T,
    "db": lambda dout: dout.sum(axis=(0, 1)),
    "read_by_o": lambda x, ctx: ctx,
}


def _layer(pieces, dy, x, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o, num_heads):
    """Return intermediate results, gradients of the three maps' outputs, and those asked for."""
    merged = pieces["merged"]
    q, k, v = (split(x @ w + b, num_heads) for w, b in ((w_q, b_q), (w_k, b_k), (w_v, b_v)))
    c = 1 / np.sqrt(q.shape[-1])
    probs = masked_softmax(c * q @ transpose(k), pieces["kept"](keep)[:, None, None, :])
    ctx = merged(probs @ v)  # (B, T, D)
    dctx = split(pieces["output_undone"](dy, w_o), num_heads)  # (B, H, T, K)
    dprobs = dctx @ transpose(v)
    dscores = pieces["softmax_undone"](dprobs, probs)
    total = pieces["scale_undone"](dscores, c)
    dq, dk, dv = (merged(d) for d in (total @ k, transpose(total) @ q, transpose(probs) @ dctx))
    grads = {"dx": pieces["dx"](dq, dk, dv, w_q, w_k, w_v)}
    entering_o = pieces["read_by_o"](x, ctx)
    for name, inputs, dout in (("q", x, dq), ("k", x, dk), ("v", x, dv), ("o", entering_o, dy)):
        grads[f"dw_{name}"] = (transpose(inputs) @ dout).sum(axis=0)
        grads[f"db_{name}"] = pieces["db"](dout)
    return {"probs": probs, "dprobs": dprobs, "dscores": dscores}, (dq, dk, dv), grads


def _wrong(*args, **exchanged):
    return tuple(_layer(RIGHT | exchanged, *args)[2].values())


def multi_head_backward_terms(**args):
    _, douts, _ = _layer(RIGHT, **args)
    named = zip("qkv", douts, strict=True)
    return {"dx": {f"d{n} w_{n}^T": dout @ args[f"w_{n}"].T for n, dout in named}}


def multi_head_backward_factors(**args):
    b, t, d = args["x"].shape
    h = args["num_heads"]
    return {"sqrt(K)": np.sqrt(d // h), "B": b, "H": h, "T": t, "D": d}


MULTI_HEAD_BACKWARD = Exercise(
    id="multi-head-backward",
    title="Multi-head self-attention backward",
    statement=r"""
        A layer of self-attention. With $q = x w_q + b_q$, $k = x w_k + b_k$, $v = x w_v + b_v$,
        each split into H heads of K = D / H neighbouring columns,

        $$\mathrm{probs} = \operatorname{softmax}_{\mathrm{keep}}\Bigl(\frac{q k^\top}{\sqrt
        K}\Bigr), \qquad \mathrm{ctx} = \operatorname{merge}(\mathrm{probs}\;v), \qquad y =
        \mathrm{ctx}\;w_o + b_o.$$

        `x` and `dy`, the gradient with respect to y, are (B, T, D); `keep` is boolean (B, T), True
        = real token: padded keys have weight 0, queries are not masked, and in a sequence that is
        all padding the weights are zero. Each `w` is (D, D), input first; each `b` is (D,);
        `num_heads` is H. Return

        `dx, dw_q, db_q, dw_k, db_k, dw_v, db_v, dw_o, db_o`

        in this order, each of its input's shape. Before you start: which of the nine is zero but
        for rounding, and why?

        If the gradients of the attention weights and of the scaled scores are called `dprobs` and
        `dscores`, the check can tell which one goes wrong first.""",
    reference=multi_head_backward,
    library=(layers.MultiHeadAttention.backward,),
    outputs=("dx", "dw_q", "db_q", "dw_k", "db_k", "dw_v", "db_v", "dw_o", "db_o"),
    cases=multi_head_backward_cases,
    hints=(
        """Four affine maps around the attention of the exercise before. x feeds three of them, so
        its gradient is a sum of three.""",
        r"""For $y = x w + b$: $dx = dy\,w^\top$, $dw = x^\top dy$ and $db = \sum dy$ over batch and
        tokens. Start at $w_o$, whose input is ctx; split $dy\,w_o^\top$ into heads; go through the
        attention; merge dq, dk, dv; then the three maps.""",
        """`dctx = split(dy @ w_o.T)`, `dw_o = (ctx.swapaxes(1, 2) @ dy).sum(axis=0)`,
        `db_o = dy.sum(axis=(0, 1))`; after attention and merging `dw_q = (x.swapaxes(1, 2) @
        dq).sum(axis=0)` and so on, `dx = dq @ w_q.T + dk @ w_k.T + dv @ w_v.T`. db_k is zero: a key
        bias shifts all scores of a row alike.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=3,
    minutes=30,
    terms=multi_head_backward_terms,
    steps=lambda **args: _layer(RIGHT, **args)[0],
    factors=multi_head_backward_factors,
    docs="derivations/attention.md",
)


@MULTI_HEAD_BACKWARD.mistake("scale-missing")
def scale_missing(*args):
    r"""the scale $1/\sqrt K$ of the scores is missing on the way back to q and k."""
    return _wrong(*args, scale_undone=lambda dscores, c: dscores)


@MULTI_HEAD_BACKWARD.mistake("mean-term-missing")
def mean_term_missing(*args):
    """the softmax is undone by its diagonal only: subtract from dprobs its mean under probs. db_k,
    which must be zero, shows it."""
    return _wrong(*args, softmax_undone=lambda dprobs, probs: dprobs * probs)


@MULTI_HEAD_BACKWARD.mistake("merge-without-transpose")
def merge_without_transpose(*args):
    """heads are merged by a plain reshape, which mixes tokens and heads: swap H and T back
    first."""
    return _wrong(*args, merged=lambda x: x.reshape(x.shape[0], x.shape[2], -1))


@MULTI_HEAD_BACKWARD.mistake("w_o-not-transposed")
def w_o_not_transposed(*args):
    """dy goes back through w_o, expected its transpose: the matrix is square, so the shapes do not
    tell."""
    return _wrong(*args, output_undone=lambda dy, w_o: dy @ w_o)


@MULTI_HEAD_BACKWARD.mistake("inputs-not-transposed")
def inputs_not_transposed(*args):
    """dx goes through w_q, w_k and w_v, expected their transposes: the matrices are square, so the
    shapes do not tell."""
    return _wrong(*args, dx=lambda dq, dk, dv, w_q, w_k, w_v: dq @ w_q + dk @ w_k + dv @ w_v)


@MULTI_HEAD_BACKWARD.mistake("dx-from-values-only")
def dx_from_values_only(*args):
    """dx has only what comes back through v: x also feeds q and k, and its gradient is the sum of
    three."""
    return _wrong(*args, dx=lambda dq, dk, dv, w_q, w_k, w_v: dv @ w_v.T)


@MULTI_HEAD_BACKWARD.mistake("dx-from-queries-only")
def dx_from_queries_only(*args):
    """dx has only what comes back through q: x also feeds k and v, and its gradient is the sum of
    three."""
    return _wrong(*args, dx=lambda dq, dk, dv, w_q, w_k, w_v: dq @ w_q.T)


@MULTI_HEAD_BACKWARD.mistake("bias-mean")
def bias_mean(*args):
    """the bias gradients are means over batch and tokens: a bias that is added to B T rows gets the
    sum of their gradients."""
    return _wrong(*args, db=lambda dout: dout.mean(axis=(0, 1)))


@MULTI_HEAD_BACKWARD.mistake("dw_o-from-x")
def dw_o_from_x(*args):
    """dw_o is made with x: the input of w_o is ctx, the merged heads."""
    return _wrong(*args, read_by_o=lambda x, ctx: x)


@MULTI_HEAD_BACKWARD.mistake("mask-missing")
def mask_missing(*args):
    """the forward was computed again without `keep`: padding got weight."""
    return _wrong(*args, kept=np.ones_like)
