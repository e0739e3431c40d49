"""A loss on the scores joins the one on the output."""

import numpy as np

from npformer import ops
from npformer.exercises.attention.draw import padding, qkv
from npformer.exercises.by_hand import masked_softmax, softmax_backward, to_q_and_k, transpose
from npformer.exercises.exercise import Case, Exercise


def scores_gradient(dctx, dscores, q, k, v, keep):
    """Return dq (B, H, T, K), dk and dv (B, H, S, K).

    dctx, q: (B, H, T, K); dscores: (B, H, T, S); k, v: (B, H, S, K); keep: boolean (B, S),
    True = real token.
    """
    _, _, cache = ops.attention_forward(q, k, v, keep[:, None, None, :])
    dq, dk, dv, _ = ops.attention_backward(dctx, dscores, cache)
    return dq, dk, dv


def scores_gradient_cases(rng):
    """Return both cotangents together, and each alone."""

    def case(b, h, t, s, k, part="", ctx=1.0, scores=1.0):
        arrays = {
            "dctx": ctx * rng.normal(size=(b, h, t, k)),
            "dscores": scores * rng.normal(size=(b, h, t, s)),
            **qkv(rng, b, h, t, s, k),
            "keep": padding(rng, b, s),
        }
        return Case(arrays, part)

    nothing = case(2, 3, 5, 7, 11).args
    return [
        case(2, 3, 5, 7, 11),
        case(3, 2, 11, 5, 13),
        case(2, 1, 5, 7, 3, "one head"),
        case(2, 3, 5, 7, 11, "loss on the scores alone", ctx=0.0),
        case(2, 3, 5, 7, 11, "loss on the output alone", scores=0.0),
        Case({**nothing, "keep": nothing["keep"] & [[True], [False]]}, "an all-padding sequence"),
    ]


def _through_the_softmax(dctx, q, k, v, keep):
    """Return what comes from dctx to the scores, the weights, and dv."""
    probs = masked_softmax(q @ transpose(k) / np.sqrt(q.shape[-1]), keep[:, None, None, :])
    return softmax_backward(dctx @ transpose(v), probs), probs, transpose(probs) @ dctx


def scores_gradient_terms(dctx, dscores, q, k, v, keep):
    da, _, _ = _through_the_softmax(dctx, q, k, v, keep)
    through, direct = to_q_and_k(da, q, k), to_q_and_k(dscores, q, k)
    return {
        name: {"through the softmax": a, "from dscores": b}
        for name, a, b in zip(("dq", "dk"), through, direct, strict=True)
    }


def scores_gradient_steps(dctx, dscores, q, k, v, keep):
    da, probs, _ = _through_the_softmax(dctx, q, k, v, keep)
    return {"probs": probs, "dprobs": dctx @ transpose(v), "total": da + dscores}


SCORES_GRADIENT = Exercise(
    id="scores-gradient",
    title="A loss on the scores",
    statement=r"""
        TinyBERT compares the attention **scores** of student and teacher, before mask and softmax.
        So the loss reaches q and k in two ways:

        $$\mathrm{scores} = \frac{q k^\top}{\sqrt K} \;\to\; \text{a loss}, \qquad \mathrm{ctx} =
        \operatorname{softmax}_{\mathrm{keep}}(\mathrm{scores})\,v \;\to\; \text{the rest of the
        model}$$

        `q` is (B, H, T, K), `k` and `v` are (B, H, S, K), `keep` is boolean (B, S), True = real
        token; in a sequence that is all padding the weights are zero. Given are `dctx`
        (B, H, T, K), the gradient with respect to ctx, and `dscores` (B, H, T, S), the gradient of
        that other loss alone with respect to the scores, at padded keys too; that of both losses
        together is `total`. Return `dq`, `dk`, `dv` of the sum of both losses, in this order. There
        is no dropout.""",
    reference=scores_gradient,
    library=(ops.attention_backward, ops.attention_scores_backward),
    outputs=("dq", "dk", "dv"),
    cases=scores_gradient_cases,
    hints=(
        """A value that is used twice gets the sum of two gradients. Where on the way back does
        dscores join?""",
        r"""Where the scores left: after the softmax has been undone and before the scores are.
        $\mathrm{total} = \mathrm{probs} \odot (d\mathrm{probs} - \sum_s
        d\mathrm{probs}\,\mathrm{probs}) + d\mathrm{scores}$, then dq and dk as ever. dv does not
        see it.""",
        """`total = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True)) + dscores`,
        `dq = total @ k / K ** 0.5`, `dk = total.swapaxes(-1, -2) @ q / K ** 0.5`,
        `dv = probs.swapaxes(-1, -2) @ dctx`.""",
    ),
    tracks=("class", "gradcheck"),
    difficulty=2,
    minutes=12,
    terms=scores_gradient_terms,
    steps=scores_gradient_steps,
    factors=lambda dctx, dscores, q, k, v, keep: {
        "sqrt(K)": np.sqrt(q.shape[-1]),
        "B": q.shape[0],
        "H": q.shape[1],
        "T": q.shape[2],
        "S": k.shape[2],
    },
    docs="derivations/attention.md",
)


@SCORES_GRADIENT.mistake("dscores-ignored")
def without_dscores(dctx, dscores, q, k, v, keep):
    """dscores arrives nowhere: the loss on the scores does not train q and k. Add it after the
    softmax has been undone."""
    da, _, dv = _through_the_softmax(dctx, q, k, v, keep)
    return *to_q_and_k(da, q, k), dv


@SCORES_GRADIENT.mistake("dscores-instead")
def dscores_alone(dctx, dscores, q, k, v, keep):
    """dscores replaces what comes through the softmax, instead of being added to it."""
    _, _, dv = _through_the_softmax(dctx, q, k, v, keep)
    return *to_q_and_k(dscores, q, k), dv


@SCORES_GRADIENT.mistake("added-to-dprobs")
def added_to_dprobs(dctx, dscores, q, k, v, keep):
    """dscores is added to dprobs and so goes through the softmax's backward: the scores are before
    the softmax, add it after that step."""
    _, probs, dv = _through_the_softmax(dctx, q, k, v, keep)
    total = softmax_backward(dctx @ transpose(v) + dscores, probs)
    return *to_q_and_k(total, q, k), dv


@SCORES_GRADIENT.mistake("dscores-masked")
def masked(dctx, dscores, q, k, v, keep):
    """dscores is set to zero at padded keys. The scores left before the mask; whether padding
    counts is the other loss's business."""
    da, _, dv = _through_the_softmax(dctx, q, k, v, keep)
    return *to_q_and_k(da + dscores * keep[:, None, None, :], q, k), dv


@SCORES_GRADIENT.mistake("dscores-unscaled")
def unscaled(dctx, dscores, q, k, v, keep):
    r"""the part from dscores lacks $1/\sqrt K$: the scores are scaled already, so both parts go
    through the scaling."""
    da, _, dv = _through_the_softmax(dctx, q, k, v, keep)
    dq, dk = to_q_and_k(da, q, k)
    return dq + dscores @ k, dk + transpose(dscores) @ q, dv


@SCORES_GRADIENT.mistake("scale-missing")
def without_scale(dctx, dscores, q, k, v, keep):
    r"""dq and dk are too large by $\sqrt K$: the forward divides by it, so the backward must
    too."""
    da, _, dv = _through_the_softmax(dctx, q, k, v, keep)
    return (da + dscores) @ k, transpose(da + dscores) @ q, dv


@SCORES_GRADIENT.mistake("mask-missing")
def without_mask(dctx, dscores, q, k, v, keep):
    """the weights were computed again without `keep`: padding got weight."""
    da, _, dv = _through_the_softmax(dctx, q, k, v, np.ones_like(keep))
    return *to_q_and_k(da + dscores, q, k), dv
