"""Gradient accumulation over micro-batches of different sizes."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def gradient_accumulation(xs, labels, w, b):
    """Return loss, dw, db of the whole batch, one micro-batch at a time.

    xs: a list of arrays (N_i, D); labels: a list of integer arrays (N_i,), -100 = no label;
    w: (D, C); b: (C,).
    """
    count = sum(int((y != -100).sum()) for y in labels)
    loss, dw, db = 0.0, np.zeros_like(w), np.zeros_like(b)
    for x, y in zip(xs, labels, strict=True):
        logits, linear = ops.linear_forward(x, w, b)
        value, entropy = ops.cross_entropy_forward(logits, y, count=count)
        _, dw_i, db_i = ops.linear_backward(ops.cross_entropy_backward(1.0, entropy), linear)
        loss, dw, db = loss + value, dw + dw_i, db + db_i
    return loss, dw, db


def gradient_accumulation_cases(rng):
    """Return micro-batches of different sizes, some of whose labels are missing."""

    def case(sizes, d_model, classes, part="", missing=0.3):
        labels = [rng.integers(classes, size=n) for n in sizes]
        for y in labels:
            y[1:][rng.random(len(y) - 1) < missing] = -100
        args = {
            "xs": [rng.normal(size=(n, d_model)) for n in sizes],
            "labels": labels,
            "w": rng.normal(size=(d_model, classes)),
            "b": rng.normal(size=classes),
        }
        return Case(args, part)

    def with_an_empty_one():
        made = case((3, 7, 4), 5, 2, "a micro-batch without labels")
        made.args["labels"][1][:] = -100
        return made

    return [
        case((4, 1), 2, 3),
        case((7, 2, 9), 3, 5),
        case((3, 11, 1, 13, 6), 7, 4),
        case((7,), 3, 5, "one micro-batch"),
        with_an_empty_one(),
    ]


def sums(x, y, w, b):
    """Return loss, dw, db of a micro-batch, added up and not divided, and its labels' number."""
    kept = y != -100
    logits = x @ w + b
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    truth = np.eye(w.shape[1])[np.where(kept, y, 0)] * kept[:, None]
    dlogits = np.exp(log_probs) * kept[:, None] - truth
    return -(truth * log_probs).sum(), x.T @ dlogits, dlogits.sum(axis=0), int(kept.sum())


def weighted(xs, labels, w, b, weight):
    """Return the sum over micro-batches of ``weight(i, kept)`` times their loss and gradients."""
    loss, dw, db = 0.0, np.zeros_like(w), np.zeros_like(b)
    for i, (x, y) in enumerate(zip(xs, labels, strict=True)):
        loss_i, dw_i, db_i, kept = sums(x, y, w, b)
        factor = weight(i, kept)
        loss, dw, db = loss + factor * loss_i, dw + factor * dw_i, db + factor * db_i
    return loss, dw, db


def labels_kept(labels):
    """Return how many labels there are in all."""
    return sum(int((y != -100).sum()) for y in labels)


def accumulation_terms(xs, labels, w, b):
    """Return what each result has of the first, the last and the other micro-batches."""
    count, last = labels_kept(labels), len(xs) - 1
    chosen = {
        "the first micro-batch": lambda i: i == 0,
        "the last micro-batch": lambda i: i == last > 0,
        "the micro-batches between": lambda i: 0 < i < last,
    }
    parts = {
        name: weighted(xs, labels, w, b, lambda i, _, take=take: take(i) / count)
        for name, take in chosen.items()
    }
    return {
        output: {name: part[k] for name, part in parts.items()}
        for k, output in enumerate(("loss", "dw", "db"))
    }


GRADIENT_ACCUMULATION = Exercise(
    id="gradient-accumulation",
    title="Gradient accumulation",
    statement=r"""
        A batch that does not fit in memory is cut into micro-batches, and their gradients are added
        before the update. The result must be that of the whole batch, however it was cut.

        Micro-batch i has `xs[i]` (N_i, D) and the integers `labels[i]` (N_i,); the label -100 means
        that the row has none. The model is an affine map and a softmax, and the loss is the
        cross-entropy in nats, **mean over all labels of the whole batch**:

        $$\mathrm{logits} = x w + b, \qquad L = -\frac1n \sum_{r:\,y_r \ne -100} \log p_{r, y_r},
        \qquad p = \mathrm{softmax}(\mathrm{logits})$$

        n counts the labels other than -100 in all micro-batches; there is at least one. Given the
        lists `xs` and `labels`, `w` (D, C) and `b` (C,), return `loss, dw, db`: a float and the
        gradients of L. The micro-batches have different sizes, each at least one row, and one may
        have no label at all.""",
    reference=gradient_accumulation,
    library=(ops.cross_entropy_forward, ops.cross_entropy_backward, ops.linear_backward),
    outputs=("loss", "dw", "db"),
    cases=gradient_accumulation_cases,
    hints=(
        """A mean of means is the mean only if all groups have one size. Add sums, and divide by one
        number.""",
        r"""Count the labels of all micro-batches first: n. Each then adds $x_i^\top d_i$ to dw,
        where the rows of $d_i$ are $(p - \mathrm{onehot}(y)) / n$, or zero without a label.""",
        """In the loop: `kept = y != -100`; `p` the softmax of `x @ w + b`; `d = p.copy(); d[kept,
        y[kept]] -= 1; d[~kept] = 0; d /= n`; then `dw += x.T @ d`, `db += d.sum(axis=0)`, `loss -=
        np.log(p[kept, y[kept]]).sum() / n`.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=15,
    terms=accumulation_terms,
    factors=lambda xs, labels, w, b: {
        "number of labels": labels_kept(labels),
        "number of rows": sum(map(len, labels)),
        "number of micro-batches": len(xs),
    },
    docs="derivations/optimizers.md",
)


@GRADIENT_ACCUMULATION.mistake("mean-of-means")
def mean_of_means(xs, labels, w, b):
    """the means of the micro-batches are averaged with equal weights: a label in a small
    micro-batch then counts more. Divide every sum by the number of labels in the whole batch."""
    return weighted(xs, labels, w, b, lambda _, kept: 1 / (len(xs) * max(1, kept)))


@GRADIENT_ACCUMULATION.mistake("means-added")
def sum_of_means(xs, labels, w, b):
    """the means of the micro-batches are added: the more micro-batches, the larger the gradient.
    Divide every sum by the number of labels in the whole batch."""
    return weighted(xs, labels, w, b, lambda _, kept: 1 / max(1, kept))


@GRADIENT_ACCUMULATION.mistake("not-divided")
def without_division(xs, labels, w, b):
    """loss and gradients are sums over the labels: divide them by their number."""
    return weighted(xs, labels, w, b, lambda _, kept: 1.0)


@GRADIENT_ACCUMULATION.mistake("rows-counted")
def dividing_by_rows(xs, labels, w, b):
    """rows without a label are counted: divide by the number of labels other than -100."""
    rows = sum(map(len, labels))
    return weighted(xs, labels, w, b, lambda _, kept: 1 / rows)


@GRADIENT_ACCUMULATION.mistake("weighted-by-rows")
def means_weighted_by_rows(xs, labels, w, b):
    """the means are weighted by the rows of each micro-batch: the weight is the number of its
    labels other than -100."""
    rows = sum(map(len, labels))
    return weighted(xs, labels, w, b, lambda i, kept: len(labels[i]) / (rows * max(1, kept)))


@GRADIENT_ACCUMULATION.mistake("last-gradient-alone")
def last_gradient_alone(xs, labels, w, b):
    """dw and db are those of the last micro-batch: each overwrote the one before. Add them."""
    count = labels_kept(labels)
    loss, _, _ = weighted(xs, labels, w, b, lambda _, kept: 1 / count)
    _, dw, db, _ = sums(xs[-1], labels[-1], w, b)
    return loss, dw / count, db / count


@GRADIENT_ACCUMULATION.mistake("rows-without-label-pull")
def pulling_without_labels(xs, labels, w, b):
    """rows without a label have a gradient, p - 0: set their rows of dlogits to zero."""
    count = labels_kept(labels)
    loss, dw, db = weighted(xs, labels, w, b, lambda _, kept: 1 / count)
    for x, y in zip(xs, labels, strict=True):
        e = np.exp(x @ w + b)
        dlogits = (y == -100)[:, None] * e / e.sum(axis=-1, keepdims=True) / count
        dw, db = dw + x.T @ dlogits, db + dlogits.sum(axis=0)
    return loss, dw, db
