"""Wrong backwards of the losses."""

import numpy as np

from mutants.registry import mutant
from npformer import ops


@mutant("cross_entropy", "constant factor")
def cross_entropy_summed(dloss, cache):
    """The mean is forgotten."""
    return ops.cross_entropy_backward(dloss, cache._replace(n=1.0))


@mutant("cross_entropy/tokens", "constant factor")
def cross_entropy_mean_over_all_rows(dloss, cache):
    """The mean counts the ignored labels too."""
    return ops.cross_entropy_backward(dloss, cache._replace(n=float(cache.target[..., 0].size)))


@mutant("cross_entropy/tokens")
def cross_entropy_ignored_rows_pushed(dloss, cache):
    """A row with an ignored label is pushed towards no class at all."""
    return (np.exp(cache.log_probs) - cache.target) * (dloss / cache.n)


@mutant("cross_entropy/tokens")
def cross_entropy_smoothing_ignored(dloss, cache):
    """Backward forgets the label smoothing."""
    target = np.zeros_like(cache.target)
    np.put_along_axis(target, cache.target.argmax(-1)[..., None], 1, axis=-1)
    target *= cache.target.sum(-1, keepdims=True) > 0
    return ops.cross_entropy_backward(dloss, cache._replace(target=target))


@mutant("cross_entropy/count", "constant factor")
def cross_entropy_count_ignored(dloss, cache):
    """Backward divides by its own count, not by the one it was given."""
    return ops.cross_entropy_backward(dloss, cache._replace(n=float(cache.target.sum())))


@mutant("cross_entropy", "constant factor")
def cross_entropy_cotangent_ignored(dloss, cache):
    """The loss is taken for the end of everything: dloss is not looked at."""
    return ops.cross_entropy_backward(1.0, cache)


@mutant("cross_entropy", "sign")
def cross_entropy_truth_minus_prediction(dloss, cache):
    """Truth minus prediction."""
    return -ops.cross_entropy_backward(dloss, cache)


@mutant("cross_entropy")
def cross_entropy_softmax_taken_twice(dloss, cache):
    """The probabilities are put through the softmax again."""
    again, _ = ops.log_softmax_forward(np.exp(cache.log_probs))
    return ops.cross_entropy_backward(dloss, cache._replace(log_probs=again))


@mutant("soft_cross_entropy", "constant factor")
def soft_tau_missing(dloss, cache):
    """The inner derivative 1/tau is forgotten."""
    return ops.soft_cross_entropy_backward(dloss, cache) * 2.3


@mutant("soft_cross_entropy/kept", "constant factor")
def soft_tau_squared_missing(dloss, cache):
    """Forward multiplies by tau^2, backward does not."""
    return ops.soft_cross_entropy_backward(dloss, cache) / 2.3**2


@mutant("soft_cross_entropy", "constant factor")
def soft_tau_squared_uninvited(dloss, cache):
    """Backward multiplies by tau^2, forward does not."""
    return ops.soft_cross_entropy_backward(dloss, cache) * 2.3**2


@mutant("soft_cross_entropy/kept", "mask ignored")
def soft_keep_ignored(dloss, cache):
    """The rows left out get a gradient."""
    return ops.soft_cross_entropy_backward(dloss, cache._replace(keep=np.ones_like(cache.keep)))


@mutant("soft_cross_entropy/kept", "constant factor")
def soft_mean_over_all_rows(dloss, cache):
    """The mean counts the rows left out."""
    return ops.soft_cross_entropy_backward(dloss, cache) * cache.keep.sum() / cache.keep.size


@mutant("soft_cross_entropy")
def soft_probabilities_at_tau_one(dloss, cache):
    """The probabilities are those without the temperature."""

    def hard(probs):
        return ops.softmax_forward(np.log(probs) * 2.3)[0]

    return ops.soft_cross_entropy_backward(
        dloss,
        cache._replace(
            student_probs=hard(cache.student_probs), teacher_probs=hard(cache.teacher_probs)
        ),
    )


@mutant("soft_cross_entropy", "sign")
def soft_teacher_and_student_swapped(dloss, cache):
    """Teacher minus student."""
    return ops.soft_cross_entropy_backward(
        dloss,
        cache._replace(student_probs=cache.teacher_probs, teacher_probs=cache.student_probs),
    )


@mutant("kl")
def kl_reversed(dloss, cache):
    """The gradient of KL(student, teacher): the arguments the other way round."""
    p = cache.student_probs
    surprise = np.log(p / cache.teacher_probs)
    return dloss * cache.factor * p * (surprise - (p * surprise).sum(-1, keepdims=True))


@mutant("kl", "constant factor")
def kl_mean_over_entries(dloss, cache):
    """The mean runs over the classes as well (PyTorch's reduction="mean")."""
    return ops.kl_backward(dloss, cache) / cache.student_probs.shape[-1]


@mutant("kl/kept", "constant factor")
def kl_count_ignored(dloss, cache):
    """Backward divides by its own count, not by the one it was given."""
    return ops.kl_backward(dloss, cache) * 17 / cache.keep.sum()


@mutant("kl/kept", "mask ignored")
def kl_keep_ignored(dloss, cache):
    """The rows left out get a gradient."""
    return ops.kl_backward(dloss, cache._replace(keep=np.ones_like(cache.keep)))


@mutant("mse", "constant factor")
def mse_factor_two_missing(dloss, cache):
    """The 2 of the square is forgotten."""
    return ops.mse_backward(dloss, cache) / 2


@mutant("mse", "sign")
def mse_sign(dloss, cache):
    """Target minus x."""
    return -ops.mse_backward(dloss, cache)


@mutant("mse/kept", "constant factor")
def mse_mean_over_all_entries(dloss, cache):
    """The mean counts the entries left out."""
    return ops.mse_backward(dloss, cache._replace(n=float(cache.error.size)))


@mutant("mse", "constant factor")
def mse_mean_over_rows(dloss, cache):
    """The mean runs over the rows, not over their entries."""
    return ops.mse_backward(dloss, cache) * cache.error.shape[-1]


@mutant("mse/count", "constant factor")
def mse_count_ignored(dloss, cache):
    """Backward divides by its own count, not by the one it was given."""
    return ops.mse_backward(dloss, cache._replace(n=float((cache.error != 0).sum())))


@mutant("mse")
def mse_absolute_error(dloss, cache):
    """The gradient of the mean absolute error."""
    return dloss * np.sign(cache.error) / cache.n


@mutant("cosine")
def cosine_projection_missing(dloss, cache):
    """The part of the target along x is not taken away: the length of x is a constant."""
    return -dloss / cache.n * cache.rnorm * cache.target_unit


@mutant("cosine")
def cosine_length_missing(dloss, cache):
    """One over the length of x is forgotten."""
    return ops.cosine_backward(dloss, cache._replace(rnorm=np.ones_like(cache.rnorm)))


@mutant("cosine", "sign")
def cosine_maximises_the_angle(dloss, cache):
    """The minus of 1 - cos is forgotten."""
    return -ops.cosine_backward(dloss, cache)


@mutant("cosine/kept", "mask ignored")
def cosine_keep_ignored(dloss, cache):
    """The vectors left out get a gradient."""
    return ops.cosine_backward(dloss, cache._replace(keep=np.ones_like(cache.keep)))


@mutant("patient")
def patient_length_a_constant(dloss, cache):
    """The length of x is not differentiated: the part along x stays."""
    return ops.mse_backward(dloss, cache.error) * cache.rnorm


@mutant("patient")
def patient_length_missing(dloss, cache):
    """One over the length of x is forgotten."""
    return ops.patient_backward(dloss, cache._replace(rnorm=np.ones_like(cache.rnorm)))


@mutant("patient")
def patient_not_normalised(dloss, cache):
    """The gradient at the unit vectors is handed on to x."""
    return ops.mse_backward(dloss, cache.error)


@mutant("patient", "constant factor")
def patient_mean_over_vectors(dloss, cache):
    """The mean runs over the vectors, not over their entries."""
    return ops.patient_backward(dloss, cache) * cache.x_unit.shape[-1]


@mutant("patient/kept", "mask ignored")
def patient_keep_ignored(dloss, cache):
    """The vectors left out get a gradient."""
    missing = cache.error.error == 0
    error = np.where(missing, cache.x_unit - 0.1, cache.error.error)
    return ops.patient_backward(dloss, cache._replace(error=cache.error._replace(error=error)))


@mutant("attention_kl", "sign")
def attention_kl_truth_minus_prediction(dloss, cache):
    """Teacher minus student."""
    return -ops.attention_kl_backward(dloss, cache)


@mutant("attention_kl", "constant factor")
def attention_kl_mean_over_entries(dloss, cache):
    """The mean runs over the keys as well."""
    return ops.attention_kl_backward(dloss, cache) / cache.student_probs.shape[-1]


@mutant("attention_kl/kept", "constant factor")
def attention_kl_mean_over_all_queries(dloss, cache):
    """The mean counts the queries that keep nothing."""
    rows = float(cache.student_probs[..., 0].size)
    return ops.attention_kl_backward(dloss, cache._replace(n=rows))


@mutant("attention_kl")
def attention_kl_through_the_softmax(dloss, cache):
    """The gradient at the logarithms is undone as if it were one of the probabilities."""
    return ops.softmax_backward(
        ops.attention_kl_backward(dloss, cache), ops.SoftmaxCache(cache.student_probs, -1)
    )


@mutant("attention_kl")
def attention_kl_reversed(dloss, cache):
    """The gradient of KL(student, teacher): the arguments the other way round."""
    p = cache.student_probs
    surprise = np.log(p / cache.teacher_probs)
    return dloss / cache.n * p * (surprise - (p * surprise).sum(-1, keepdims=True))


@mutant("value_relation")
def value_relation_asking_only(dloss, cache):
    """The values ask and answer; only the asking gets a gradient."""
    dscores = ops.attention_kl_backward(dloss, cache.loss)
    return ops.attention_scores_backward(dscores, cache.scores)[0]


@mutant("value_relation")
def value_relation_answering_only(dloss, cache):
    """The values ask and answer; only the answering gets a gradient."""
    dscores = ops.attention_kl_backward(dloss, cache.loss)
    return ops.attention_scores_backward(dscores, cache.scores)[1]


@mutant("value_relation", "constant factor")
def value_relation_scale_forgotten(dloss, cache):
    """1/sqrt(K) is forgotten."""
    return ops.value_relation_backward(dloss, cache) / cache.scores.scale


@mutant("value_relation")
def value_relation_symmetric(dloss, cache):
    """The gradient of the scores is taken for symmetric, as the scores are."""
    dscores = ops.attention_kl_backward(dloss, cache.loss)
    return 2 * ops.attention_scores_backward(dscores, cache.scores)[0]


@mutant("value_relation/kept", "constant factor")
def value_relation_count_ignored(dloss, cache):
    """Backward divides by its own count, not by the one it was given."""
    kept = cache.loss.student_probs.any(axis=-1).sum()
    return ops.value_relation_backward(dloss, cache) * cache.loss.n / kept
