"""A whole program: one step of TinyBERT's distillation, all four losses."""

import numpy as np

from npformer import distill, models
from npformer.exercises.by_hand import log_softmax, softmax
from npformer.exercises.distillation import attention_loss, hidden_loss
from npformer.exercises.exercise import Case, Exercise
from npformer.exercises.programs import wrong_layers
from npformer.exercises.programs.step_by_hand import (
    exchanged,
    of_logits,
    step,
    tinybert_step_factors,
    tinybert_step_steps,
    tinybert_step_terms,
)


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
        and of moderate size, at padding too.""",
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
    them out of sum and count."""
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
@exchanged("logits")
def mean_over_classes(z, target, tau):
    """the prediction loss is divided by C as well, as `.mean()` does in the released code: sum over
    classes, mean over rows."""
    loss, d = of_logits(z, target, tau)
    return loss / z.shape[1], d / z.shape[1]


@TINYBERT_STEP.mistake("tau-squared-missing")
@exchanged("logits")
def tau_squared_missing(z, target, tau):
    r"""the prediction loss lacks the factor $\tau^2$."""
    loss, d = of_logits(z, target, tau)
    return loss / tau**2, d / tau**2


@TINYBERT_STEP.mistake("direction-reversed")
@exchanged("logits")
def direction_reversed(z, target, tau):
    """the prediction loss is KL(student, teacher): the teacher's probabilities are the weights."""
    p = softmax(z / tau)
    surprise = log_softmax(z / tau) - log_softmax(target / tau)
    row = (p * surprise).sum(axis=-1, keepdims=True)
    return tau**2 * row.mean(), tau * p * (surprise - row) / len(z)


@TINYBERT_STEP.mistake("hard-label")
@exchanged("logits")
def hard_label(z, target, tau):
    """the teacher's argmax is taken for a label: class indices are no probabilities, and what the
    teacher says of the other classes is lost."""
    label = np.eye(z.shape[1])[target.argmax(axis=1)]
    loss = -(label * log_softmax(z)).sum() / len(z)
    return loss, (softmax(z) - label) / len(z)


@TINYBERT_STEP.mistake("teacher-mixed-in")
@exchanged("logits")
def teacher_mixed_in(z, target, tau):
    """the teacher's logits are mixed into the student's before they are compared: that helps the
    student with its answer. Compare, do not mix."""
    loss, d = of_logits(0.7 * z + 0.3 * target, target, tau)
    return loss, 0.7 * d


@TINYBERT_STEP.mistake("cross-entropy-instead")
@exchanged("logits")
def cross_entropy_instead(z, target, tau):
    """the prediction loss is the cross-entropy, more than the KL divergence by the teacher's
    entropy; its gradient is the same."""
    loss, d = of_logits(z, target, tau)
    q, log_q = softmax(target / tau), log_softmax(target / tau)
    return loss - tau**2 * (q * log_q).sum() / len(z), d


TINYBERT_STEP.mistake("first-of-each-group")(wrong_layers.teachers_scores_first_of_the_group)
TINYBERT_STEP.mistake("hidden-one-lower")(wrong_layers.teachers_hidden_one_lower)
TINYBERT_STEP.mistake("bottom-layers")(wrong_layers.bottom_layers)
TINYBERT_STEP.mistake("top-layers")(wrong_layers.top_layers)
TINYBERT_STEP.mistake("layers-averaged")(wrong_layers.layers_averaged)
TINYBERT_STEP.mistake("one-projection-for-all")(wrong_layers.one_projection_for_all)
TINYBERT_STEP.mistake("last-layer-alone")(wrong_layers.w_h_of_the_last_layer_alone)
TINYBERT_STEP.mistake("moved-layer-by-layer")(wrong_layers.w_h_moved_layer_by_layer)
TINYBERT_STEP.mistake("embeddings-without-gradient")(wrong_layers.embeddings_without_a_gradient)
TINYBERT_STEP.mistake("uphill")(wrong_layers.uphill)
TINYBERT_STEP.mistake("gradients-returned")(wrong_layers.gradients_returned)
