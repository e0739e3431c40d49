"""A whole program: one step of TinyBERT's distillation, all four losses."""

import numpy as np

from npformer import distill, models
from npformer.exercises.distillation import attention_loss, hidden_loss
from npformer.exercises.distillation.soft_targets import log_softmax, softmax
from npformer.exercises.exercise import Case, Exercise


def tinybert_step(
    student_hidden,
    student_scores,
    student_logits,
    teacher_hidden,
    teacher_scores,
    teacher_logits,
    keep,
    w_e,
    w_h,
    tau,
    rate,
):
    """Return four losses, the gradients at the student's outputs, and the moved projections.

    In order: embedding_loss, hidden_loss, attention_loss, prediction_loss; dstudent_hidden,
    dstudent_scores, dstudent_logits; new_w_e, new_w_h.

    student_hidden: (M + 1, B, T, D_S), the output of the embeddings first.
    student_scores: (M, B, H, T, T), before the mask. student_logits: (B, C).
    teacher_hidden: (N + 1, B, T, D_T). teacher_scores: (N, B, H, T, T). teacher_logits: (B, C).
    keep: (B, T), True = real token. w_e, w_h: (D_S, D_T). tau, rate: numbers.
    """
    levels = distill.layer_mapping("uniform", len(student_scores), len(teacher_scores))
    layers = levels[1:]
    terms = {
        "embedding": (1.0, distill.EmbeddingTerm("e", {"e.w": w_e})),
        "hidden": (1.0, distill.HiddenTerm(layers, ("h",) * len(layers), {"h.w": w_h})),
        "attention": (1.0, distill.AttentionScoresTerm(layers)),
        "prediction": (1.0, distill.PredictionTerm(tau, tau_squared=True, kind="kl")),
    }
    student = models.ModelOutput(tuple(student_hidden), tuple(student_scores), student_logits)
    teacher = models.ModelOutput(tuple(teacher_hidden), tuple(teacher_scores), teacher_logits)
    total = distill.combine(terms, student, teacher, keep)
    return (
        *(total.values[name] for name in terms),
        np.stack(total.dstudent.hidden),
        np.stack(total.dstudent.scores),
        total.dstudent.logits,
        w_e - rate * total.grads["e.w"],
        w_h - rate * total.grads["h.w"],
    )


def tinybert_step_cases(rng):
    """Return outputs of a small student and a larger teacher, with and without padding."""

    def case(lengths, m, n, t, narrow, wide, h, c, part=""):
        b = len(lengths)
        return Case(
            {
                "student_hidden": rng.normal(size=(m + 1, b, t, narrow)),
                "student_scores": rng.normal(size=(m, b, h, t, t)),
                "student_logits": 2 * rng.normal(size=(b, c)),
                "teacher_hidden": rng.normal(size=(n + 1, b, t, wide)),
                "teacher_scores": rng.normal(size=(n, b, h, t, t)),
                "teacher_logits": 2 * rng.normal(size=(b, c)),
                "keep": np.arange(t) < np.array(lengths)[:, None],
                "w_e": rng.normal(size=(narrow, wide)),
                "w_h": rng.normal(size=(narrow, wide)),
                "tau": float(rng.uniform(1.4, 1.8)),
                "rate": float(rng.uniform(0.2, 0.4)),
            },
            part,
        )

    return [
        case([4, 4, 4], 2, 4, 4, 5, 7, 2, 6),
        case([5, 5], 3, 9, 5, 4, 6, 3, 7),
        case([3] * 4, 2, 6, 3, 5, 8, 3, 7),
        case([2, 5, 3], 2, 4, 6, 4, 7, 2, 5, "padding"),
        case([4, 0, 2, 5], 2, 6, 5, 3, 7, 2, 6, "all-padding row"),
        case([2, 3], 3, 3, 4, 5, 6, 2, 7, "same depth"),
        case([4, 3, 5], 1, 4, 5, 4, 6, 2, 7, "one layer"),
        case([3, 4], 2, 4, 5, 3, 6, 1, 7, "one head"),
    ]


def of_hidden(h, target, w, keep):
    error = hidden_loss.masked_error(h, target, w, keep)
    return hidden_loss.of_error(h, w, error, hidden_loss.tokens(keep) * w.shape[1])


def of_scores(a, target, keep):
    pairs = attention_loss.pairs_of(keep)
    return attention_loss.squared_error(a, target, pairs, attention_loss.kept(a, pairs))


def of_logits(z, target, tau):
    p, q = softmax(z / tau), softmax(target / tau)
    loss = (q * (log_softmax(target / tau) - log_softmax(z / tau))).sum() / len(z)
    return tau**2 * loss, tau * (p - q) / len(z)


def uniform(m, num_student, num_teacher):
    return m * (num_teacher // num_student)


def step(
    student_hidden,
    student_scores,
    student_logits,
    teacher_hidden,
    teacher_scores,
    teacher_logits,
    keep,
    w_e,
    w_h,
    tau,
    rate,
    *,
    hidden=of_hidden,
    scores=of_scores,
    logits=of_logits,
    hidden_of=uniform,
    scores_of=uniform,
):
    """The step as it should be, with its parts open to mistakes."""
    depths = len(student_scores), len(teacher_scores)
    dhidden, dscores = np.zeros_like(student_hidden), np.zeros_like(student_scores)
    dw_h, of_states, of_attention = 0, 0.0, 0.0
    embedding_loss, dhidden[0], dw_e = hidden(student_hidden[0], teacher_hidden[0], w_e, keep)
    for m in range(1, depths[0] + 1):
        target = teacher_hidden[hidden_of(m, *depths)]
        loss, dhidden[m], dw = hidden(student_hidden[m], target, w_h, keep)
        of_states, dw_h = of_states + loss, dw_h + dw
        target = teacher_scores[scores_of(m, *depths) - 1]
        loss, dscores[m - 1] = scores(student_scores[m - 1], target, keep)
        of_attention += loss
    prediction_loss, dlogits = logits(student_logits, teacher_logits, tau)
    losses = embedding_loss, of_states, of_attention, prediction_loss
    return *losses, dhidden, dscores, dlogits, w_e - rate * dw_e, w_h - rate * dw_h


ARGUMENTS = (
    "student_hidden", "student_scores", "student_logits", "teacher_hidden", "teacher_scores",
    "teacher_logits", "keep", "w_e", "w_h", "tau", "rate",
)  # fmt: skip


def tinybert_step_terms(**args):
    *_, new_w_e, new_w_h = step(*(args[name] for name in ARGUMENTS))
    w_e, w_h = args["w_e"], args["w_h"]
    tau, q = args["tau"], softmax(args["teacher_logits"] / args["tau"])
    p = softmax(args["student_logits"] / tau)
    return {
        "dstudent_logits": {
            "student_probs": tau * p / len(p),
            "- teacher_probs": -tau * q / len(q),
        },
        "new_w_e": {"w_e": w_e, "- rate dw_e": new_w_e - w_e},
        "new_w_h": {"w_h": w_h, "- rate dw_h": new_w_h - w_h},
    }


def tinybert_step_steps(**args):
    depths = len(args["student_scores"]), len(args["teacher_scores"])
    keep, tau = args["keep"], args["tau"]
    *_, new_w_e, new_w_h = step(*(args[name] for name in ARGUMENTS))
    return {
        "g": np.array([uniform(m, *depths) for m in range(depths[0] + 1)]),
        "tokens": hidden_loss.tokens(keep),
        "pairs": attention_loss.pairs_of(keep),
        "student_probs": softmax(args["student_logits"] / tau),
        "teacher_probs": softmax(args["teacher_logits"] / tau),
        "dw_e": (args["w_e"] - new_w_e) / args["rate"],
        "dw_h": (args["w_h"] - new_w_h) / args["rate"],
    }


def tinybert_step_factors(**args):
    b, c = args["student_logits"].shape
    narrow, wide = args["w_h"].shape
    sizes = {"B": b, "C": c, "D_S": narrow, "D_T": wide, "M": len(args["student_scores"])}
    sizes |= {"N": len(args["teacher_scores"]), "H": args["student_scores"].shape[2]}
    return {"tau": args["tau"], "rate": args["rate"], **sizes, "T": args["keep"].shape[1]}


TINYBERT_STEP = Exercise(
    id="tinybert-step",
    title="Program: a step of TinyBERT",
    statement=r"""
        One step of distillation, from the outputs of both models. A student of M layers has
        `student_hidden` (M + 1, B, T, D_S), the output of the embeddings first, `student_scores`
        (M, B, H, T, T), scaled, before the mask, and `student_logits` (B, C); the teacher of N
        layers likewise, with D_T. M divides N; layer m (counted from 1) learns from layer
        $g(m) = m N/M$. The student's $h_m$ is `student_hidden[m]`, its $A_m$ is
        `student_scores[m - 1]`; the teacher's likewise. `keep` (B, T), True = real token; $k_{bt}$
        is `keep` as 0 or 1; n = number of kept tokens; a pair of scores counts if query and key
        are real. The four losses:

        - `embedding_loss` $= \frac{1}{n D_T} \sum_{b,t} k_{bt} \lVert h^S_{0} W_e - h^T_{0}
          \rVert^2$
        - `hidden_loss` $= \sum_{m=1}^{M} \frac{1}{n D_T} \sum_{b,t} k_{bt} \lVert h^S_{m} W_h -
          h^T_{g(m)} \rVert^2$, one W_h for all layers
        - `attention_loss` $= \sum_{m=1}^{M} \frac{1}{H \sum_b n_b^2} \sum_{b,h,t,s} k_{bt} k_{bs}
          (A^S_{m} - A^T_{g(m)})^2$, $n_b$ the number of kept tokens of sequence b
        - `prediction_loss` $= \frac{\tau^2}{B} \sum_b \operatorname{KL}(p^T_b \,\Vert\, p^S_b)$, p
          the softmax of logits / `tau`

        Their sum is the loss, here, for brevity: TinyBERT trains with the first three, then with
        the prediction alone. Return the four losses in this order; then its gradients
        `dstudent_hidden`, `dstudent_scores`, `dstudent_logits`, of the shapes of the student's
        outputs; then `new_w_e` and `new_w_h`, the projections after one step of gradient descent,
        w - rate dw. The teacher is a constant. At least one token is kept. What is given is finite
        and of moderate size, at padding too.
        """,
    reference=tinybert_step,
    library=(
        distill.HiddenTerm.forward,
        distill.AttentionScoresTerm.forward,
        distill.PredictionTerm.forward,
        distill.combine,
    ),
    outputs=(
        "embedding_loss",
        "hidden_loss",
        "attention_loss",
        "prediction_loss",
        "dstudent_hidden",
        "dstudent_scores",
        "dstudent_logits",
        "new_w_e",
        "new_w_h",
    ),
    cases=tinybert_step_cases,
    hints=(
        """Write three functions, each giving a loss and its gradients: of hidden states, of scores,
        of logits. The step is a loop over the layers that calls them; W_h collects from every
        layer.""",
        r"""$E = k\,(h^S W - h^T)$: $dh^S = \frac{2}{n D_T} E W^\top$,
        $dW = \frac{2}{n D_T} (h^S)^\top E$. $dA^S = \frac{2}{H \sum n_b^2} k k^\top (A^S - A^T)$.
        $dz^S = \frac{\tau}{B} (p^S - p^T)$.""",
        """`for m in range(1, M + 1): g = m * (N // M)`; compare `student_hidden[m]` with
        `teacher_hidden[g]` through `w_h` and add to `dw_h`; compare `student_scores[m - 1]` with
        `teacher_scores[g - 1]`. At the end `w_h - rate * dw_h`.""",
    ),
    tracks=("interview", "class"),
    difficulty=3,
    minutes=45,
    terms=tinybert_step_terms,
    steps=tinybert_step_steps,
    factors=tinybert_step_factors,
    docs="tinybert.md",
)


@TINYBERT_STEP.mistake("padding-counted")
def padding_counted(*args):
    """padded tokens count in the embedding and hidden losses, as in TinyBERT's released code: leave
    them out of sum and count.
    """
    return step(*args, hidden=hidden_loss.padding_counted)


@TINYBERT_STEP.mistake("sum-over-features")
def stopped_counting_features(*args):
    """the embedding and hidden losses are not divided by D_T."""
    return step(*args, hidden=hidden_loss.summed_over_features)


@TINYBERT_STEP.mistake("queries-not-masked")
def queries_not_masked(*args):
    """padded queries count in the attention loss: a pair counts only if query and key are real."""
    return step(*args, scores=attention_loss.queries_not_masked)


@TINYBERT_STEP.mistake("padded-area")
def padded_area(*args):
    """the attention loss is divided by B H T T: divide by H times the kept pairs."""
    return step(*args, scores=attention_loss.divided_by_the_padded_area)


@TINYBERT_STEP.mistake("after-the-softmax")
def after_the_softmax(*args):
    """attention probabilities are compared: TinyBERT compares the scores before the softmax."""
    return step(*args, scores=attention_loss.compared_after_the_softmax)


@TINYBERT_STEP.mistake("mean-over-classes")
def mean_over_classes(*args):
    """the prediction loss is divided by C as well, as `.mean()` does in the released code: sum over
    classes, mean over rows.
    """

    def logits(z, target, tau):
        loss, d = of_logits(z, target, tau)
        return loss / z.shape[1], d / z.shape[1]

    return step(*args, logits=logits)


@TINYBERT_STEP.mistake("tau-squared-missing")
def tau_squared_missing(*args):
    r"""the prediction loss lacks the factor $\tau^2$."""

    def logits(z, target, tau):
        loss, d = of_logits(z, target, tau)
        return loss / tau**2, d / tau**2

    return step(*args, logits=logits)


@TINYBERT_STEP.mistake("direction-reversed")
def direction_reversed(*args):
    """the prediction loss is KL(student, teacher): the teacher's probabilities are the weights."""

    def logits(z, target, tau):
        p = softmax(z / tau)
        surprise = log_softmax(z / tau) - log_softmax(target / tau)
        row = (p * surprise).sum(axis=-1, keepdims=True)
        return tau**2 * row.mean(), tau * p * (surprise - row) / len(z)

    return step(*args, logits=logits)


@TINYBERT_STEP.mistake("hard-label")
def hard_label(*args):
    """the teacher's argmax is taken for a label: class indices are no probabilities, and what the
    teacher says of the other classes is lost.
    """

    def logits(z, target, tau):
        label = np.eye(z.shape[1])[target.argmax(axis=1)]
        loss = -(label * log_softmax(z)).sum() / len(z)
        return loss, (softmax(z) - label) / len(z)

    return step(*args, logits=logits)


@TINYBERT_STEP.mistake("teacher-mixed-in")
def teacher_mixed_in(*args):
    """the teacher's logits are mixed into the student's before they are compared: that helps the
    student with its answer. Compare, do not mix.
    """

    def logits(z, target, tau):
        loss, d = of_logits(0.7 * z + 0.3 * target, target, tau)
        return loss, 0.7 * d

    return step(*args, logits=logits)


@TINYBERT_STEP.mistake("cross-entropy-instead")
def cross_entropy_instead(*args):
    """the prediction loss is the cross-entropy, more than the KL divergence by the teacher's
    entropy; its gradient is the same.
    """

    def logits(z, target, tau):
        loss, d = of_logits(z, target, tau)
        q, log_q = softmax(target / tau), log_softmax(target / tau)
        return loss - tau**2 * (q * log_q).sum() / len(z), d

    return step(*args, logits=logits)


@TINYBERT_STEP.mistake("first-of-each-group")
def teachers_scores_first_of_the_group(*args):
    """the teacher's scores are those of the first layer of each group of N/M, expected the last:
    entry g(m) - 1.
    """

    def first(m, num_student, num_teacher):
        return (m - 1) * (num_teacher // num_student) + 1

    return step(*args, scores_of=first)


@TINYBERT_STEP.mistake("hidden-one-lower")
def teachers_hidden_one_lower(*args):
    """the teacher's hidden states are one layer too low: their list begins with the embeddings, so
    layer g is entry g.
    """

    def lower(m, num_student, num_teacher):
        return uniform(m, num_student, num_teacher) - 1

    return step(*args, hidden_of=lower)


@TINYBERT_STEP.mistake("bottom-layers")
def bottom_layers(*args):
    """layer m learns from the teacher's layer m: the mapping is uniform, g(m) = m N/M."""

    def bottom(m, num_student, num_teacher):
        return m

    return step(*args, hidden_of=bottom, scores_of=bottom)


@TINYBERT_STEP.mistake("top-layers")
def top_layers(*args):
    """the student learns from the teacher's last M layers: the mapping is uniform, g(m) = m N/M."""

    def top(m, num_student, num_teacher):
        return m + num_teacher - num_student

    return step(*args, hidden_of=top, scores_of=top)


@TINYBERT_STEP.mistake("layers-averaged")
def layers_averaged(*args):
    """hidden and attention losses are averaged over the layers: they are summed."""
    *losses, dhidden, dscores, dlogits, new_w_e, new_w_h = step(*args)
    m, w_h = len(args[1]), args[8]
    dhidden = np.concatenate([dhidden[:1], dhidden[1:] / m])
    losses = losses[0], losses[1] / m, losses[2] / m, losses[3]
    return *losses, dhidden, dscores / m, dlogits, new_w_e, w_h + (new_w_h - w_h) / m


@TINYBERT_STEP.mistake("one-projection-for-all")
def one_projection_for_all(*args):
    """w_h projects the embeddings too, like the released code's single `fit_dense`: here they have
    w_e.
    """
    *outputs, new_w_e, new_w_h = step(*args[:7], args[8], *args[8:])
    w_e, w_h = args[7:9]
    return *outputs, w_e, new_w_h + new_w_e - w_h


@TINYBERT_STEP.mistake("last-layer-alone")
def w_h_of_the_last_layer_alone(*args):
    """dw_h is that of the last layer: each layer overwrites it. All layers share w_h, so their
    gradients are added.
    """
    *outputs, _ = step(*args)
    student_hidden, teacher_hidden, keep, w_h, rate = args[0], args[3], args[6], args[8], args[10]
    *_, dw = of_hidden(student_hidden[-1], teacher_hidden[-1], w_h, keep)
    return *outputs, w_h - rate * dw


@TINYBERT_STEP.mistake("moved-layer-by-layer")
def w_h_moved_layer_by_layer(*args):
    """w_h is moved inside the loop, so later layers see another matrix: collect the gradient of all
    layers, then move once.
    """
    w_h, rate = args[8], args[10]
    moved = [w_h]

    def hidden(h, target, w, keep):
        if w is not w_h:
            return of_hidden(h, target, w, keep)
        loss, dh, dw = of_hidden(h, target, moved[-1], keep)
        moved.append(moved[-1] - rate * dw)
        return loss, dh, dw

    *outputs, _ = step(*args, hidden=hidden)
    return *outputs, moved[-1]


@TINYBERT_STEP.mistake("embeddings-without-gradient")
def embeddings_without_a_gradient(*args):
    """dstudent_hidden[0] is zero: the embedding loss has a gradient too."""
    *losses, dhidden, dscores, dlogits, new_w_e, new_w_h = step(*args)
    dhidden[0] = 0
    return *losses, dhidden, dscores, dlogits, new_w_e, new_w_h


@TINYBERT_STEP.mistake("uphill")
def uphill(*args):
    """the projections move along their gradients, uphill: w - rate dw."""
    *outputs, new_w_e, new_w_h = step(*args)
    w_e, w_h = args[7:9]
    return *outputs, 2 * w_e - new_w_e, 2 * w_h - new_w_h


@TINYBERT_STEP.mistake("gradients-returned")
def gradients_returned(*args):
    """the gradients of the projections are returned: the moved projections are asked for, w - rate
    dw.
    """
    *outputs, new_w_e, new_w_h = step(*args)
    w_e, w_h, rate = args[7], args[8], args[10]
    return *outputs, (w_e - new_w_e) / rate, (w_h - new_w_h) / rate
