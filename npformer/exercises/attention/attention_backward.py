"""The gradients of attention for q, k and v, with a mask and dropout."""

import numpy as np

from npformer import ops
from npformer.exercises.attention.draw import qkv
from npformer.exercises.by_hand import masked_softmax, softmax_backward, to_q_and_k, transpose
from npformer.exercises.exercise import Case, Exercise


def attention_backward(dctx, q, k, v, keep, r):
    """Return dq (B, H, T, K), dk and dv (B, H, S, K).

    dctx, q: (B, H, T, K); k, v: (B, H, S, K); keep: boolean (B, 1, T, S), True = may attend;
    r: (B, H, T, S), the dropout factors of this call, 0 or 1 / (1 - p).
    """
    _, _, cache = ops.attention_forward(q, k, v, keep)
    _, mix_cache = ops.attention_mix_forward(cache.softmax.probs * r, v)
    cache = cache._replace(dropout=ops.DropoutCache(r), mix=mix_cache)
    dq, dk, dv, _ = ops.attention_backward(dctx, None, cache)
    return dq, dk, dv


def attention_backward_cases(rng):
    """Return masks that hide some keys, empty rows, and dropout."""

    def case(b, h, t, s, k, part="", p_drop=0.3, empty=False):
        keep = rng.random((b, 1, t, s)) < 0.7
        keep[:, :, :, 0] = True
        if empty:
            keep[0, :, 1] = False
        r = (rng.random((b, h, t, s)) >= p_drop) / (1 - p_drop)
        arrays = qkv(rng, b, h, t, s, k)
        dctx = rng.normal(size=(b, h, t, k))
        return Case({"dctx": dctx, **arrays, "keep": keep, "r": r}, part)

    return [
        case(2, 3, 5, 7, 11),
        case(3, 2, 11, 5, 13, p_drop=0.45),
        case(2, 3, 5, 7, 11, "no dropout", p_drop=0.0),
        case(2, 1, 5, 7, 3, "one head"),
        case(2, 3, 1, 5, 7, "one query"),
        case(2, 3, 5, 7, 11, "nothing to attend to", empty=True),
    ]


def _forward(q, k, v, keep, r):
    probs = masked_softmax(q @ transpose(k) / np.sqrt(q.shape[-1]), keep)
    return probs, probs * r


def _by_hand(dctx, q, k, v, keep, r):
    probs, dropped = _forward(q, k, v, keep, r)
    dscores = softmax_backward(dctx @ transpose(v) * r, probs)
    return *to_q_and_k(dscores, q, k), transpose(dropped) @ dctx


def attention_backward_terms(dctx, q, k, v, keep, r):
    probs, _ = _forward(q, k, v, keep, r)
    dprobs = dctx @ transpose(v) * r
    mean = (dprobs * probs).sum(axis=-1, keepdims=True)
    dq, dk = to_q_and_k(probs * dprobs, q, k)
    mean_dq, mean_dk = to_q_and_k(-probs * mean, q, k)
    return {
        "dq": {"from probs * dprobs": dq, "from - probs * sum(dprobs * probs)": mean_dq},
        "dk": {"from probs * dprobs": dk, "from - probs * sum(dprobs * probs)": mean_dk},
    }


def attention_backward_steps(dctx, q, k, v, keep, r):
    probs, dropped = _forward(q, k, v, keep, r)
    dprobs = dctx @ transpose(v) * r
    return {
        "probs": probs,
        "dropped": dropped,
        "dprobs": dprobs,
        "dscores": softmax_backward(dprobs, probs),
    }


ATTENTION_BACKWARD = Exercise(
    id="attention-backward",
    title="Attention backward: dq, dk and dv",
    statement=r"""
        The forward was

        $$\mathrm{scores} = \frac{q k^\top}{\sqrt K}, \qquad \mathrm{probs} =
        \operatorname{softmax}_{\mathrm{keep}}(\mathrm{scores}), \qquad \mathrm{dropped} =
        \mathrm{probs} \odot r, \qquad \mathrm{ctx} = \mathrm{dropped}\;v.$$

        `q` is (B, H, T, K), `k` and `v` are (B, H, S, K). `keep` is boolean (B, 1, T, S), True =
        may attend; hidden keys have weight 0, and so has every key of a query with nothing to
        attend to. `r` (B, H, T, S) are the dropout factors of this call, 0 or $1/(1-p)$, a
        constant. Given `dctx` (B, H, T, K), the gradient of the loss with respect to ctx, return
        `dq`, `dk` and `dv` in this order, each of its input's shape. You have to compute the
        forward again. There is no NaN, even for a query that sees nothing.

        If your variables are called `probs`, `dropped`, `dprobs` (the gradient of probs, before
        dropout: it contains r) and `dscores` (that of the scaled scores), the check can tell which
        one goes wrong first.""",
    reference=attention_backward,
    library=(
        ops.attention_mix_backward,
        ops.dropout_backward,
        ops.masked_softmax_backward,
        ops.attention_scores_backward,
        ops.attention_backward,
    ),
    outputs=("dq", "dk", "dv"),
    cases=attention_backward_cases,
    hints=(
        """Undo the four steps from the last to the first. For a matrix product: the gradient of a
        factor is the cotangent times the other factor, summed over the index that the factor does
        not have.""",
        r"""$dv = \mathrm{dropped}^\top d\mathrm{ctx}$; $d\mathrm{probs} = (d\mathrm{ctx}\;v^\top)
        \odot r$; $d\mathrm{scores} = \mathrm{probs} \odot (d\mathrm{probs} - \sum_s
        d\mathrm{probs}\,\mathrm{probs})$ with probs *before* dropout;
        $dq = d\mathrm{scores}\;k/\sqrt K$, $dk = d\mathrm{scores}^\top q/\sqrt K$.""",
        """With `probs` and `dropped = probs * r` computed again:
        `dv = dropped.swapaxes(-1, -2) @ dctx`, `dprobs = (dctx @ v.swapaxes(-1, -2)) * r`, `mean =
        (dprobs * probs).sum(axis=-1, keepdims=True)`, `dscores = probs * (dprobs - mean)`,
        `dq = dscores @ k / K ** 0.5`, `dk = dscores.swapaxes(-1, -2) @ q / K ** 0.5`.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=3,
    minutes=20,
    terms=attention_backward_terms,
    steps=attention_backward_steps,
    factors=lambda dctx, q, k, v, keep, r: {
        "sqrt(K)": np.sqrt(q.shape[-1]),
        "1 / (1 - p)": r.max(),
        "B": q.shape[0],
        "H": q.shape[1],
        "T": q.shape[2],
        "S": k.shape[2],
    },
    docs="derivations/attention.md",
)


@ATTENTION_BACKWARD.mistake("dv-from-undropped")
def undropped_in_dv(dctx, q, k, v, keep, r):
    """dv uses the weights before dropout. The product with v saw `dropped`, so its backward must
    see it too: without dropout the two are the same, with it they are not."""
    probs, _ = _forward(q, k, v, keep, r)
    dscores = softmax_backward(dctx @ transpose(v) * r, probs)
    return *to_q_and_k(dscores, q, k), transpose(probs) @ dctx


@ATTENTION_BACKWARD.mistake("dropout-not-undone")
def dropout_not_undone(dctx, q, k, v, keep, r):
    r"""dropout is left out on the way back: $d\mathrm{ctx}\;v^\top$ is the gradient of `dropped`;
    times r it is that of probs."""
    probs, dropped = _forward(q, k, v, keep, r)
    dscores = softmax_backward(dctx @ transpose(v), probs)
    return *to_q_and_k(dscores, q, k), transpose(dropped) @ dctx


@ATTENTION_BACKWARD.mistake("softmax-undone-with-dropped")
def dropped_in_the_softmax(dctx, q, k, v, keep, r):
    """the softmax is undone with the weights after dropout: its own output was probs, before
    dropout."""
    _, dropped = _forward(q, k, v, keep, r)
    dscores = softmax_backward(dctx @ transpose(v) * r, dropped)
    return *to_q_and_k(dscores, q, k), transpose(dropped) @ dctx


@ATTENTION_BACKWARD.mistake("dropout-factor-missing")
def dropout_without_its_factor(dctx, q, k, v, keep, r):
    """r is used as a mask of 0 and 1: what is kept is also multiplied by $1/(1-p)$."""
    return _by_hand(dctx, q, k, v, keep, (r > 0).astype(r.dtype))


@ATTENTION_BACKWARD.mistake("mask-missing")
def without_mask(dctx, q, k, v, keep, r):
    """the forward was computed again without `keep`: hidden keys got weight."""
    return _by_hand(dctx, q, k, v, np.ones_like(keep), r)


@ATTENTION_BACKWARD.mistake("scale-missing")
def without_scale(dctx, q, k, v, keep, r):
    r"""dq and dk are too large by $\sqrt K$: the forward divides the scores by it, so the backward
    must too."""
    probs, dropped = _forward(q, k, v, keep, r)
    dscores = softmax_backward(dctx @ transpose(v) * r, probs)
    return dscores @ k, transpose(dscores) @ q, transpose(dropped) @ dctx


@ATTENTION_BACKWARD.mistake("mean-term-missing")
def without_the_mean_term(dctx, q, k, v, keep, r):
    r"""the softmax's Jacobian is more than its diagonal: subtract from dprobs its mean under probs,
    $\sum_s d\mathrm{probs}_{ts}\,\mathrm{probs}_{ts}$."""
    probs, dropped = _forward(q, k, v, keep, r)
    dscores = probs * (dctx @ transpose(v) * r)
    return *to_q_and_k(dscores, q, k), transpose(dropped) @ dctx


@ATTENTION_BACKWARD.mistake("mean-over-queries")
def mean_over_queries(dctx, q, k, v, keep, r):
    """in the softmax's backward the sum goes over the queries (axis -2): the softmax went over the
    keys, axis -1, and so does this sum."""
    probs, dropped = _forward(q, k, v, keep, r)
    dprobs = dctx @ transpose(v) * r
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-2, keepdims=True))
    return *to_q_and_k(dscores, q, k), transpose(dropped) @ dctx


@ATTENTION_BACKWARD.mistake("mean-over-everything")
def mean_over_everything(dctx, q, k, v, keep, r):
    """in the softmax's backward one sum is taken over all rows: each query has its own,
    `axis=-1, keepdims=True`."""
    probs, dropped = _forward(q, k, v, keep, r)
    dprobs = dctx @ transpose(v) * r
    dscores = probs * (dprobs - (dprobs * probs).sum())
    return *to_q_and_k(dscores, q, k), transpose(dropped) @ dctx


@ATTENTION_BACKWARD.mistake("softmax-not-undone")
def without_softmax_backward(dctx, q, k, v, keep, r):
    """dprobs goes to q and k as if it were dscores: the softmax lies between them and must be
    undone."""
    _, dropped = _forward(q, k, v, keep, r)
    dprobs = dctx @ transpose(v) * r
    return *to_q_and_k(dprobs, q, k), transpose(dropped) @ dctx


@ATTENTION_BACKWARD.mistake("minus-infinity")
def minus_infinity(dctx, q, k, v, keep, r):
    """a query with nothing to attend to gives NaN: its row of scores is all -inf. Its weights, and
    with them its gradients, must be zero."""
    scores = np.where(keep, q @ transpose(k) / np.sqrt(q.shape[-1]), -np.inf)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probs = e / e.sum(axis=-1, keepdims=True)
    dscores = softmax_backward(dctx @ transpose(v) * r, probs)
    return *to_q_and_k(dscores, q, k), transpose(probs * r) @ dctx
