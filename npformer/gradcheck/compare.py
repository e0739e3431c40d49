"""The comparison that `check_pair` and `check_model` share."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from npformer.gradcheck.diagnose import diagnose
from npformer.gradcheck.numeric import Outputs, direction_slope, entry_slopes
from npformer.gradcheck.problem import Problem, check_gradients, check_outputs, check_point
from npformer.gradcheck.report import GradientError, GradientReport
from npformer.gradcheck.tree import leaves
from npformer.types import FloatArray, Params

# A gradient this far below the largest one is zero: rounding and nothing else.
ZERO = 1e-12
# What is declared zero must stay below this part of the largest, for finite differences too.
STAYS_ZERO = 1e-8
DIRECTIONS = 2
# A caller who draws x with the same seed must not get dy = x, whose x^T dy is its own transpose.
APART = 20_240_229
# A difference across the kink of a ReLU is no derivative. What fails is tried again closer to
# the point: there a right gradient passes, and a wrong one never does.
CLOSER = 0.02
# An array that fails along directions is looked at entry by entry if it is no larger.
LOCATE = 1000


def compare(problem: Problem, *, zero: Sequence[str], entrywise: bool, seed: int) -> GradientReport:
    """Check every array of ``problem`` under every choice of cotangents."""
    check_point(problem, zero)
    rng = np.random.default_rng([APART, seed])
    outputs, cache = problem.run({})
    values = leaves(outputs, "output", scalars=True)
    check_outputs(problem, values)
    choices = _choices(values, rng)
    pulled = [problem.pull(choice, outputs, cache) for choice in choices]
    # In a nest, None is the declaration: an entry of a ModelOutput that the loss does not read.
    zero = (*zero, *(name for name in problem.entries if pulled[0].get(name) is None))
    gradients = [check_gradients(problem, grads) for grads in pulled]
    sizes = {n for a in chain(values.values(), problem.point.values()) for n in a.shape}

    numeric: Params = {}
    directions: dict[str, list[FloatArray] | None] = {}
    for name, x in problem.point.items():
        directions[name] = None if entrywise else _directions(x, rng)
        numeric[name] = _numeric(problem, name, choices, directions[name])

    errors = dict.fromkeys(problem.point, 0.0)
    for i, choice in enumerate(choices):
        peaks = {name: (_peak(gradients[i][name]), _peak(numeric[name][i])) for name in errors}
        largest = max(map(max, peaks.values()))
        for name in problem.point:
            if _is_zero(problem, name, *peaks[name], largest, zero, alone=i > 0):
                continue
            a, n = _project(gradients[i][name], directions[name]), numeric[name][i]
            error = _error(a, n)
            if error > problem.tolerance:
                n = _numeric(problem, name, [choice], directions[name], CLOSER)[0]
                error = _error(a, n)
            errors[name] = max(errors[name], error)
            if error > problem.tolerance:
                raise _wrong(problem, name, choice, gradients[i][name], a, n, sizes, alone=i > 0)
    return GradientReport(
        problem.subject, problem.kind, max(errors.values()), problem.tolerance, errors
    )


def _is_zero(
    problem: Problem,
    name: str,
    analytic: float,
    numeric: float,
    largest: float,
    zero: Sequence[str],
    *,
    alone: bool,
) -> bool:
    """Tell whether both gradients, given by their largest entries, are zero and may be."""
    small = max(analytic, numeric) <= STAYS_ZERO * largest
    if name in zero and not small:
        raise problem.error(
            name,
            "not zero: it is declared zero (or its gradient left None) and is not",
            analytic=analytic,
            numeric=numeric,
            error=max(analytic, numeric) / largest,
        )
    if name in zero or (small and alone):
        # One output alone rightly leaves the arguments of the others without a gradient.
        return True
    if small and analytic <= ZERO * largest:
        raise problem.error(
            name,
            "zero: backward and finite differences both find nothing, so nothing is checked; "
            f"declare it with zero=({name!r},) if that is meant",
        )
    return False


def _wrong(
    problem: Problem,
    name: str,
    choice: Mapping[str, FloatArray],
    gradient: FloatArray,
    a: FloatArray,
    n: FloatArray,
    sizes: Iterable[int],
    *,
    alone: bool,
) -> GradientError:
    error = _error(a, n)
    located = a.shape == gradient.shape
    if not located and gradient.size <= LOCATE:
        entries = _numeric(problem, name, [choice], None)[0]
        located = _error(gradient, entries) > problem.tolerance
        a, n = (gradient, entries) if located else (a, n)
    worst = np.unravel_index(int(np.argmax(np.abs(a - n))), a.shape)
    where = [path.removeprefix("output.").removeprefix("output") for path in choice]
    return problem.error(
        name,
        diagnose(a, n, sizes),
        index=tuple(int(i) for i in worst) if located else None,
        analytic=float(a[worst]),
        numeric=float(n[worst]),
        error=error,
        where=f" with a cotangent on output {where[0]} alone" if alone else "",
    )


def _choices(values: Outputs, rng: np.random.Generator) -> list[dict[str, FloatArray]]:
    """Return random cotangents: on every output together, then on each alone."""
    together: dict[str, FloatArray] = {}
    for path, y in values.items():
        # A loss's cotangent is a factor, and must not be near 0 or 1.
        loss = y.shape == ()
        together[path] = np.asarray(rng.uniform(1.5, 2.5) if loss else rng.normal(size=y.shape))
    if len(together) == 1:
        return [together]
    return [together, *({path: dy} for path, dy in together.items())]


def _numeric(
    problem: Problem,
    name: str,
    choices: Sequence[Mapping[str, FloatArray]],
    directions: Sequence[FloatArray] | None,
    shrink: float = 1.0,
) -> FloatArray:
    """Return the slopes for each choice of cotangents: by entry, or along the directions."""
    x = problem.point[name]

    def evaluate(moved: FloatArray) -> Outputs:
        return problem.outputs({name: moved})

    if directions is None:
        slopes, shape = entry_slopes(evaluate, x, shrink), x.shape
    else:
        slopes = (direction_slope(evaluate, x, u, shrink) for u in directions)
        shape = (len(directions),)
    columns = [[_inner(choice, slope) for choice in choices] for slope in slopes]
    return np.array(columns, dtype=np.float64).T.reshape(len(choices), *shape)


def _inner(choice: Mapping[str, FloatArray], slope: Outputs) -> float:
    return sum(float(np.sum(dy * slope[path])) for path, dy in choice.items())


def _directions(x: FloatArray, rng: np.random.Generator) -> list[FloatArray]:
    drawn = (rng.standard_normal(x.shape) for _ in range(DIRECTIONS))
    return [u / np.linalg.norm(u) for u in drawn]


def _project(g: FloatArray, directions: Sequence[FloatArray] | None) -> FloatArray:
    return g if directions is None else np.array([np.sum(g * u) for u in directions])


def _error(a: FloatArray, n: FloatArray) -> float:
    return _peak(a - n) / max(_peak(a), _peak(n))


def _peak(a: FloatArray) -> float:
    return float(np.abs(a).max())
