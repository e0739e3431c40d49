"""A step of TinyBERT by hand, with its parts open to mistakes."""

import numpy as np

from npformer.exercises.by_hand import log_softmax, softmax
from npformer.exercises.distillation import attention_loss, hidden_loss


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


def exchanged(*names):
    """Make of a piece that is wrong the step in which it stands for the right ones."""

    def make(piece):
        def wrong(*args):
            return step(*args, **dict.fromkeys(names, piece))

        wrong.__name__, wrong.__doc__ = piece.__name__, piece.__doc__
        return wrong

    return make


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
