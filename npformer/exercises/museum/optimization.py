"""Training: the optimizer, what is read from the settings, and what a stop forgets."""

import numpy as np

from npformer import optim
from npformer.data.masking import mask_tokens as mask_tokens_of_batch
from npformer.data.tokenizer import SpecialIds
from npformer.exercises.museum.bugs import bug


def adam_step(p, g, m, v, t, lr):
    """Return p, m and v after step t (from 1) of Adam: betas 0.9, 0.999, eps 1e-8; arrays alike."""
    p, m, v = p.copy(), m.copy(), v.copy()
    state = optim.OptimizerState(t - 1, {"m": {"p": m}, "v": {"p": v}})
    optim.Adam().update({"p": p}, {"p": g}, state, lr)
    return p, m, v


def test_the_first_step_has_the_size_of_the_rate(fn):
    g = np.array([1e-3, -5.0, 200.0])
    p, _, _ = fn(np.zeros(3), g, np.zeros(3), np.zeros(3), 1, 0.01)
    assert np.allclose(p, -0.01 * np.sign(g), rtol=1e-4)


@bug(
    "adam-without-bias-correction",
    right=adam_step,
    witness=test_the_first_step_has_the_size_of_the_rate,
    exercise="adam",
    tracks=("interview", "class"),
)
def without_bias_correction(p, g, m, v, t, lr):
    r"""Adam without bias correction, at a constant rate

    An optimizer released with a large model leaves Adam's bias correction out; its warm-up hides
    that. A later script took the optimizer and switched the warm-up off. Its first step is 3.16
    times too long, its twelfth 6.57 times.

    `adam_step(p, g, m, v, t, lr)` returns the new `(p, m, v)` after step `t`, counted from 1, of
    Adam as published, with bias correction: $\beta_1 = 0.9$, $\beta_2 = 0.999$,
    $\epsilon = 10^{-8}$ outside the root. All arrays have one shape; the given ones are not written
    to.

    From zero moments the first step is lr times the sign of the gradient, whatever its size."""
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    return p - lr * m / (np.sqrt(v) + 1e-8), m, v


def clip(grads, max_norm):
    """Return the gradients (a list of arrays), their common norm at most max_norm."""
    clipped = {str(i): g.copy() for i, g in enumerate(grads)}
    optim.clip_by_global_norm(clipped, max_norm)
    return list(clipped.values())


def test_the_direction_stays(fn):
    grads = [np.array([30.0, 40.0]), np.array([[0.5]])]
    a, b = fn(grads, 1.0)
    assert np.allclose(a[0] / b[0, 0], 60)


@bug(
    "clip-each-tensor",
    right=clip,
    witness=test_the_direction_stays,
    exercise="clip-global-norm",
    tracks=("interview", "class"),
)
def each_tensor_by_itself(grads, max_norm):
    r"""Each tensor is clipped by itself

    A training script clips inside its optimizer, where only one tensor is at hand. Large gradients
    shrink, small ones stay: the step points elsewhere, and with two hundred tensors its norm may be
    fourteen times the limit.

    `clip(grads, max_norm)` takes a list of arrays of any shapes and returns the list scaled by one
    common number so that the Euclidean norm of all entries together is at most `max_norm`:
    $\min(1, c/(\lVert g \rVert + 10^{-6}))$.

    A large gradient beside a small one: their ratio must stay."""
    return [g * min(1.0, max_norm / (np.linalg.norm(g) + 1e-6)) for g in grads]


def adamw_first_step(p, g, lr, weight_decay):
    """Return p after AdamW's first step; p, g: (I, O), betas 0.9, 0.999, eps 1e-8."""
    params = {"p": p.copy()}
    adamw = optim.AdamW(weight_decay=weight_decay)
    adamw.update(params, {"p": g}, adamw.init(params), lr)
    return params["p"]


def test_a_large_decay(fn):
    p, g = np.array([[2.0, -4.0, 8.0]]), np.ones((1, 3))
    assert np.allclose(fn(p, g, 0.1, 5.0), p * 0.5 - 0.1)


@bug(
    "setting-never-read",
    right=adamw_first_step,
    witness=test_a_large_decay,
    exercise="adamw",
    tracks=("class",),
)
def its_own_decay(p, g, lr, weight_decay):
    r"""An option that is parsed and never read

    A script has an option for the weight decay; the optimizer is built with a constant. In the same
    script a table of epochs for each task sets a field whose name lacks its last letter, and so is
    never read. Whoever tunes such a setting measures noise.

    `adamw_first_step(p, g, lr, weight_decay)` returns the matrix `p` (I, O) after the first step of
    AdamW with gradient `g`, moments starting at zero: $p\,(1 - \eta\lambda) -
    \eta\,g/(|g| + 10^{-8})$, with $\eta$ = `lr` and $\lambda$ = `weight_decay`.

    Another decay than the usual 0.01 must change the result. Every option deserves a test that
    moves it."""
    settings = {"lr": lr, "weight_decay": weight_decay}
    decay = settings.get("decay", 0.01)
    return p * (1 - settings["lr"] * decay) - settings["lr"] * g / (np.abs(g) + 1e-8)


def adam_with_a_stop(p, grads, lr, stop):
    """Return p (D,) after a step of Adam for each row of grads (N, D), saved and loaded at stop."""
    adam, params = optim.Adam(), {"p": p.copy()}
    state = adam.init(params)
    for step, g in enumerate(grads):
        if step == stop:
            arrays = {name: a.copy() for name, a in state.to_arrays().items()}
            state = optim.OptimizerState.from_arrays(arrays, state.step)
        adam.update(params, {"p": g}, state, lr)
    return params["p"]


def test_stopping_changes_nothing(fn):
    rng = np.random.default_rng(0)
    p, grads = rng.normal(size=3), rng.normal(size=(7, 3))
    assert np.allclose(fn(p, grads, 0.1, 4), fn(p, grads, 0.1, 0))


@bug(
    "resume-forgets-the-moments",
    right=adam_with_a_stop,
    witness=test_stopping_changes_nothing,
    exercise="adam",
    tracks=("class",),
)
def only_the_weights_are_saved(p, grads, lr, stop):
    """A resumed run that starts over

    A distillation script can continue from a checkpoint, which holds the weights and nothing else.
    The optimizer's moments start at zero again and the schedule warms up once more: the run goes
    on, as another run.

    `adam_with_a_stop(p, grads, lr, stop)` does one step of Adam (betas 0.9 and 0.999, eps 1e-8) on
    `p` (D,) for each row of `grads` (N, D). Before row `stop` (from 0) all is saved to a checkpoint
    and loaded again. Returns the last p, which must be that of a run without a stop.

    A stop in the middle and a stop before the first step must end at the same weights."""
    for step, g in enumerate(grads):
        if step in (0, stop):
            m, v, t = np.zeros_like(p), np.zeros_like(p), 0
        t += 1
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p = p - lr * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return p


def mask_tokens(ids, p_mask, vocab_size, rng):
    """Return (masked ids, labels), both (B, T); ids 0 .. 4 are special, 4 is [MASK]."""
    return mask_tokens_of_batch(
        ids,
        np.ones(ids.shape, bool),
        SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4),
        rng,
        vocab_size=vocab_size,
        p_mask=p_mask,
    )


def test_nothing_is_masked_at_zero(fn):
    ids = np.array([[2, 7, 8, 9, 3], [2, 5, 6, 3, 0]])
    masked, labels = fn(ids, 0.0, 20, np.random.default_rng(0))
    assert (masked == ids).all()
    assert (labels == -100).all()


@bug(
    "masks-at-probability-zero",
    right=mask_tokens,
    witness=test_nothing_is_masked_at_zero,
    exercise="mlm-masking",
    tracks=("class",),
)
def at_least_one(ids, p_mask, vocab_size, rng):
    """At least one token, even at probability zero

    A script that prepares text for distillation sets the masking probability to 0, with a remark
    that the corpus needs no masks. The number of masked tokens is the larger of 1 and the rounded
    share: every sequence has one token masked or replaced all the same.

    `mask_tokens(ids, p_mask, vocab_size, rng)`: each of the integers `ids` (B, T) that is not
    special (ids 0 to 4 are) is chosen with probability `p_mask`. Of the chosen ones 80 % become 4,
    [MASK], 10 % a random id from 5 to V - 1, 10 % stay. Returns `(masked, labels)`, both (B, T);
    `labels` has the original id where chosen and -100 elsewhere.

    At p_mask = 0 nothing may change. The ends of a range are the first thing to test."""
    masked, labels = ids.copy(), np.full(ids.shape, -100)
    for row in range(len(ids)):
        words = np.flatnonzero(ids[row] > 4)
        number = min(len(words), max(1, round(len(words) * p_mask)))
        for place in rng.choice(words, number, replace=False):
            labels[row, place] = ids[row, place]
            how = rng.random()
            if how < 0.8:
                masked[row, place] = 4
            elif how >= 0.9:
                masked[row, place] = rng.integers(5, vocab_size)
    return masked, labels
