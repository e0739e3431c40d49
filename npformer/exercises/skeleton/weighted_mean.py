"""The weighted mean: a small exercise that is complete. Change it, part by part, into yours."""

import numpy as np

from npformer.exercises.exercise import Case, Exercise


# 1. The right answer. Name, parameters and docstring are what the learner begins with. It may call
#    npformer (`from npformer import ops`); what else it calls has to stand inside it.
def weighted_mean(x, weights):
    """Return the weighted mean of each row; x: (..., D), weights: (D,), the result: (...)."""
    return (x * weights).sum(axis=-1) / weights.sum()


# 2. The calls it is tried on, the smallest first: by parameter name, axes of different sizes. A
#    part is a special case with a line of its own in the report.
def weighted_mean_cases(rng):
    """Return a few rows, more axes, and a single feature."""

    def case(*shape, part=""):
        args = {"x": rng.normal(size=shape), "weights": rng.uniform(0.5, 2.0, size=shape[-1])}
        return Case(args, part)

    return [case(2, 3), case(2, 5, 7), case(5, 1, part="one feature")]


# 3. What the learner reads: the statement has to say all that is graded.
WEIGHTED_MEAN = Exercise(
    id="weighted-mean",
    title="Weighted mean",
    statement=r"""
        Row by row, with `x` (..., D) and positive `weights` (D,), return the weighted mean, (...):

        $$y = \frac{\sum_j w_j x_j}{\sum_j w_j}$$
    """,
    reference=weighted_mean,
    library=(),  # functions whose source is shown beside the solution
    outputs=("y",),  # names of what is returned; with two or more it is a tuple
    cases=weighted_mean_cases,
    hints=(  # the idea; the formula; nearly the code
        "A weight says how often a value counts.",
        "Divide by the sum of the weights, not by their number.",
        "Multiply x by weights and sum over `axis=-1`; then divide by `weights.sum()`.",
    ),
    tracks=("class",),
    difficulty=1,  # 1 to 3
    minutes=5,
)


# 4. What goes wrong: wrong functions, each with a name, and what the learner is told as docstring.
@WEIGHTED_MEAN.mistake("not-divided")
def not_divided(x, weights):
    """this is a weighted sum. Divide it by the sum of the weights."""
    return (x * weights).sum(axis=-1)


@WEIGHTED_MEAN.mistake("divided-by-the-number")
def divided_by_the_number(x, weights):
    """it is divided by D, the number of weights. They need not have the mean 1: divide by their
    sum."""
    return (x * weights).mean(axis=-1)


@WEIGHTED_MEAN.mistake("weights-forgotten")
def weights_forgotten(x, weights):
    """all values count alike: multiply x by the weights first."""
    return x.mean(axis=-1)


@WEIGHTED_MEAN.mistake("mean-of-everything")
def mean_of_everything(x, weights):
    """all rows are in one mean. Each has its own: sum over `axis=-1`."""
    return np.full(
        x.shape[:-1], np.average(x.reshape(-1, x.shape[-1]).mean(axis=0), weights=weights)
    )
