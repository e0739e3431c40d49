"""Optimizers, schedules and what stands around them."""

import numpy as np

from npformer import ops, optim
from npformer.exercises.quiz.card import card


@card("momentum", exercises=("sgd-momentum",), docs="derivations/optimizers.md")
def momentum_adds_up():
    """SGD with momentum: the update, and the size of a step for a constant gradient?

    `b = mu b + g; w = w - lr b`. For a constant gradient b tends to g / (1 - mu): ten times the
    plain step at mu = 0.9. Directions that change sign cancel.

    Some write `b = mu b + (1 - mu) g`. The same? Up to the rate: 1/(1 - mu) times as large. And
    keeping lr inside b differs once the rate changes."""
    p, g = {"w": np.zeros((2, 3))}, {"w": np.full((2, 3), 0.5)}
    optimizer = optim.Sgd(momentum=0.9)
    state = optimizer.init(p)
    steps = []
    for _ in range(200):
        before = p["w"][0, 0]
        optimizer.update(p, g, state, 0.01)
        steps.append(before - p["w"][0, 0])
    assert np.isclose(steps[0], 0.01 * 0.5)
    assert np.isclose(steps[1], 0.01 * 0.5 * 1.9)
    assert np.isclose(steps[-1], 0.01 * 0.5 / (1 - 0.9))  # ten times the first


@card("adam-bias-correction", exercises=("adam",), docs="derivations/optimizers.md")
def the_first_step_is_the_rate():
    """Adam's two moments, and what is bias correction for?

    m and v are running means of g and g^2; a step is `lr m / (sqrt(v) + eps)`. Both start at 0 and
    are too small by 1 - beta^t; divided by it, the first step is lr times the sign of g, whatever
    g's size.

    BERT's released Adam has no correction. Are early steps smaller? Larger: v is behind more than
    m. 3.16 times at step 1, 6.57 times at step 12."""
    rng = np.random.default_rng(1)
    for size in (1e-3, 1.0, 1e3):  # whatever the gradient's size
        p, g = {"w": np.zeros((3, 4))}, {"w": size * rng.normal(size=(3, 4))}
        optimizer = optim.Adam()
        optimizer.update(p, g, optimizer.init(p), 0.01)
        assert np.allclose(p["w"], -0.01 * np.sign(g["w"]), rtol=1e-2)
    p, g = {"w": np.zeros((3, 4))}, {"w": rng.normal(size=(3, 4))}
    uncorrected = optim.BertAdam(weight_decay=0.0)
    state, size = uncorrected.init(p), []
    for _ in range(1000):
        before = p["w"].copy()
        uncorrected.update(p, g, state, 0.01)
        size.append(np.abs(p["w"] - before).mean() / 0.01)
    assert np.isclose(size[0], 0.1 / np.sqrt(0.001), rtol=1e-3)  # 3.16
    assert int(np.argmax(size)) + 1 == 12
    assert abs(max(size) - 6.57) < 0.01
    assert abs(size[-1] - 1.26) < 0.01


@card("adamw-or-l2", exercises=("adamw",), docs="derivations/optimizers.md")
def decay_beside_the_gradient():
    """Adam with an L2 penalty, or AdamW: why is it not the same?

    In the gradient the penalty is divided by sqrt(v) like everything else: weights with large
    gradients hardly decay. AdamW multiplies the weight by 1 - lr * lambda apart from the gradient:
    all decay at one rate. For plain SGD the two are the same.

    Does the penalty also enter m and v? With L2 yes, it changes the direction of later steps;
    decoupled no."""
    start = {"w": np.ones((1, 2))}
    sizes = np.array([[0.01, 10.0]])  # one weight with small gradients, one with large
    shrunk = {}
    for name, kind in (("l2", optim.Adam), ("decoupled", optim.AdamW)):
        ends = []
        for decay in (0.0, 0.1):
            p, draw = {"w": start["w"].copy()}, np.random.default_rng(3)
            optimizer = kind(weight_decay=decay)
            state = optimizer.init(p)
            for _ in range(100):
                optimizer.update(p, {"w": sizes * draw.normal(size=(1, 2))}, state, 1e-3)
            ends.append(p["w"])
        shrunk[name] = (ends[0] - ends[1])[0]
    assert np.isclose(*shrunk["decoupled"], rtol=0.1)  # the same share of both
    assert shrunk["l2"][0] > 20 * abs(shrunk["l2"][1])  # hardly any where gradients are large


@card("warmup", exercises=("warmup-schedule",), docs="derivations/optimizers.md")
def early_steps_are_the_noisiest():
    """Why warm up the learning rate, and which schedules follow?

    Adam's first steps have full size in every direction, also where the gradient is noise, for v
    rests on a few samples; and post-LN's gradients near the output are large at the start. Then
    linear to 0 (BERT), half a cosine, or Noam's `d^-0.5 min(t^-0.5, t w^-1.5)`, which peaks at t =
    w.

    The first step of a warm-up has rate 0 if steps count from 0: does nothing happen? No weight
    moves, but Adam's moments are filled."""
    rng = np.random.default_rng(4)
    p = {"w": np.zeros((200, 50))}
    optimizer = optim.Adam()
    state, size = optimizer.init(p), []
    for _ in range(300):  # gradients that are noise alone
        before = p["w"].copy()
        optimizer.update(p, {"w": rng.normal(size=(200, 50))}, state, 1.0)
        size.append(np.sqrt(((p["w"] - before) ** 2).mean()))
    assert np.isclose(size[0], 1, rtol=0.01)  # a full step in a random direction
    assert abs(size[-1] - np.sqrt(0.1 / 1.9)) < 0.02  # 0.23 once the means are filled
    linear = [optim.linear_schedule(t, warmup=10, total=100) for t in range(101)]
    assert linear[0] == 0
    assert linear[5] == 0.5
    assert linear[10] == 1 == max(linear)
    assert linear[100] == 0
    noam = [optim.noam_schedule(t, warmup=400, d_model=512) for t in range(1, 2000)]
    assert abs(int(np.argmax(noam)) + 1 - 400) <= 1
    cosine = [optim.cosine_schedule(t, warmup=10, total=110) for t in range(111)]
    assert np.isclose(cosine[60], 0.5)


@card("no-decay-groups", exercises=("adamw",), docs="derivations/optimizers.md")
def matrices_decay_vectors_do_not():
    """Which parameters are not decayed, and why?

    Biases, gamma and beta. Decay keeps matrices small, since they multiply what passes through; a
    bias only shifts it, so a large one does no such harm. Pulling gamma to 0 would switch a layer
    off, for it belongs near 1. In code: arrays of one axis, or names with `bias` and `LayerNorm`.

    Is the embedding table decayed? Usually yes, it is a matrix. But rows of rare words then shrink
    at every step in which they do not occur."""
    rng = np.random.default_rng(5)
    p = {"w": np.ones((2, 3)), "b": np.ones(3), "gamma": np.ones(3)}
    g = {name: np.zeros_like(a) for name, a in p.items()}
    optimizer = optim.AdamW(weight_decay=0.1)
    state = optimizer.init(p)
    for _ in range(50):
        optimizer.update(p, g, state, 0.01)
    assert np.allclose(p["w"], (1 - 0.01 * 0.1) ** 50)
    assert (p["b"] == 1).all()
    assert (p["gamma"] == 1).all()
    x = rng.normal(size=(4, 3))  # a norm makes the size of what stands before it irrelevant
    small, large = (ops.layernorm_forward(s * x, p["gamma"], np.zeros(3))[0] for s in (0.5, 1.0))
    assert np.allclose(small, large)


@card("gradient-clipping", exercises=("clip-global-norm",), docs="derivations/optimizers.md")
def one_factor_for_all():
    """Exploding gradients: how does clipping by the global norm work, and why global?

    The norm of all gradients as one vector; if it exceeds c, all are multiplied by c / norm. One
    factor: the direction stays. Clipping each array on its own turns it, as TinyBERT's released
    optimizer does.

    With gradient accumulation, when do you clip? Once, after the sum and before the step: the norm
    that counts is that of the whole batch."""
    rng = np.random.default_rng(6)

    def draw():
        return {"a": 10 * rng.normal(size=(4, 5)), "b": 0.1 * rng.normal(size=7)}

    def flat(grads):
        return np.concatenate([g.ravel() for g in grads.values()])

    grads = draw()
    before = flat(grads)
    norm = optim.clip_by_global_norm(grads, 1.0)
    after = flat(grads)
    assert np.isclose(norm, np.linalg.norm(before))
    assert np.isclose(np.linalg.norm(after), 1)
    assert np.isclose(before @ after, np.linalg.norm(before))  # the same direction
    grads = draw()
    before = flat(grads)
    optim.clip_by_tensor_norm(grads, 1.0)
    after = flat(grads)
    cosine = before @ after / np.linalg.norm(before) / np.linalg.norm(after)
    assert cosine < 0.99  # each array by a factor of its own: another direction
    small = {"a": 0.01 * rng.normal(size=(4, 5))}
    kept = small["a"].copy()
    optim.clip_by_global_norm(small, 1.0)
    assert np.array_equal(small["a"], kept)  # below the limit nothing happens


@card(
    "gradient-accumulation", exercises=("gradient-accumulation",), docs="derivations/optimizers.md"
)
def parts_divide_by_the_whole():
    """Gradient accumulation: when does it equal the large batch?

    If the gradients of the parts are added and each loss is divided by the count of the whole
    batch: labels, tokens or pairs, whatever the loss averages over. A mean of means is wrong as
    soon as the parts have different counts, as with padding or masked-LM labels.

    Which layers break the equality anyhow? Those that look at the batch: batch norm, in-batch
    negatives. And dropout draws other masks."""
    rng = np.random.default_rng(7)
    logits = rng.normal(size=(12, 5))
    labels = rng.integers(0, 5, size=12)
    labels[[1, 2, 3, 4]] = -100  # parts with unequal numbers of labels
    _, cache = ops.cross_entropy_forward(logits, labels)
    whole = ops.cross_entropy_backward(1.0, cache)
    count, parts, means = int((labels != -100).sum()), [], []
    for rows in (slice(0, 6), slice(6, 12)):
        _, cache = ops.cross_entropy_forward(logits[rows], labels[rows], count=count)
        parts.append(ops.cross_entropy_backward(1.0, cache))
        _, cache = ops.cross_entropy_forward(logits[rows], labels[rows])
        means.append(ops.cross_entropy_backward(0.5, cache))  # the mean of two means
    assert np.allclose(np.concatenate(parts), whole)
    assert not np.allclose(np.concatenate(means), whole)
