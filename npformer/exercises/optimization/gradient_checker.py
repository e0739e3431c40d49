"""A gradient checker of one's own."""

import numpy as np

from npformer import gradcheck
from npformer.exercises.exercise import Case, Exercise
from npformer.exercises.optimization import pairs


def gradient_checker(forward, backward, args, dy):
    """Return for each float64 array of args a pair: its gradient's error, and whether it is right.

    forward(**args): y; backward(dy, **args): a dict from name to gradient; args: a dict from name
    to array, float64 or integer; dy: an array of the shape of y.
    """
    from npformer import numeric_gradient

    grads, report = backward(dy, **args), {}
    for name in (name for name, x in args.items() if x.dtype == np.float64):
        n = numeric_gradient(lambda z, name=name: forward(**{**args, name: z}), args[name], dy)
        a, error = grads.get(name), np.inf
        if a is not None and a.shape == n.shape and np.isfinite(a).all():
            error = float(np.abs(a - n).max() / max(1.0, np.abs(n).max()))
        report[name] = error, error <= 1e-6
    return report


def gradient_checker_cases(rng):
    """Return right and wrong backwards of several functions."""

    def case(forward, backward, part="", **shapes):
        args = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        return made(forward, backward, args, part)

    def made(forward, backward, args, part):
        dy = rng.normal(size=forward(**args).shape)
        return Case({"forward": forward, "backward": backward, "args": args, "dy": dy}, part)

    affine, gated = {"x": (3, 2), "w": (2, 5), "b": (5,)}, {"x": (4, 3), "gamma": (3,)}
    right, wrong, little = "right backwards", "wrong backwards", "slightly wrong backwards"
    rows = {"ids": np.array([[1, 4, 1], [0, 1, 6]]), "table": rng.normal(size=(7, 2))}
    return [
        case(pairs.softmax, pairs.softmax_backward, x=(2, 3)),
        case(pairs.affine, pairs.bias_averaged, **affine),
        case(pairs.affine, pairs.affine_backward, right, **affine),
        case(pairs.gated, pairs.gated_backward, right, **gated),
        case(pairs.affine, pairs.first_sign_wrong, wrong, **affine),
        case(pairs.softmax, pairs.softmax_diagonal, wrong, x=(4, 5)),
        case(pairs.softmax, pairs.all_zero, wrong, x=(2, 3)),
        case(pairs.gated, pairs.gated_without_gamma, wrong, **gated),
        case(pairs.affine, pairs.one_entry_wrong, "one wrong entry", **affine),
        case(pairs.gated, pairs.gated_slightly_off, little, **gated),
        case(pairs.affine, pairs.weights_nan, "NaN in a gradient", **affine),
        case(pairs.affine, pairs.bias_with_an_axis_too_many, "a wrong shape", **affine),
        case(pairs.affine, pairs.bias_without_gradient, "a missing gradient", **affine),
        made(pairs.lookup, pairs.lookup_backward, rows, "integer arguments"),
        made(pairs.lookup, pairs.lookup_losing_repeats, rows, "integer arguments"),
    ]


H = 1e-5


def central(f, x):
    """Return the derivative of the number f(x) for each entry of x, by centred differences."""
    n = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        plus, minus = x.copy(), x.copy()
        plus[i] += H
        minus[i] -= H
        n[i] = (f(plus) - f(minus)) / (2 * H)
    return n


def scaled(a, n):
    """Return the largest difference, relative to the largest slope or to 1."""
    return float(np.abs(a - n).max() / max(1.0, np.abs(n).max()))


def usable(a, x):
    """Tell whether there is a gradient that can be compared."""
    return a is not None and a.shape == x.shape and np.isfinite(a).all()


def judged(forward, backward, args, dy, slopes=central, error=scaled, weights=None):
    """Return the report; ``weights`` in the loss are ``dy`` by default."""
    grads, errors = backward(dy, **args), {}
    weights = dy if weights is None else weights
    for name, x in args.items():
        if x.dtype == np.float64:
            n = slopes(lambda z, name=name: (weights * forward(**{**args, name: z})).sum(), x)
            errors[name] = error(grads[name], n) if usable(grads.get(name), x) else np.inf
    return {name: (e, e <= 1e-6) for name, e in errors.items()}


def gradient_checker_steps(forward, backward, args, dy):
    """Return the slopes of the last argument."""
    name, x = [(name, x) for name, x in args.items() if x.dtype == np.float64][-1]
    return {"n": central(lambda z: (dy * forward(**{**args, name: z})).sum(), x)}


GRADIENT_CHECKER = Exercise(
    id="gradient-checker",
    title="Write your own gradient checker",
    statement=r"""
        Write the referee of all the other exercises. It gets a `forward` and a `backward` that
        claims to belong to it, and must find out by itself whether it does. Your function is run on
        right backwards, which it must accept, and on wrong ones, which it must refuse.

        - `args` is a dict from name to array, float64 or integer, none empty; `forward(**args)`
          returns the array y;
        - `dy`, of the shape of y, is the gradient of the loss with respect to y, so take
          $L = \sum dy \cdot y$;
        - `backward(dy, **args)` returns a dict from name to gradient, an array, for float64 arrays
          alone. Neither function changes its arguments.

        For every **float64** array of `args` (integer arrays have no gradient) compute for each
        entry i the centred difference

        $$n_i = \frac{L(x + h e_i) - L(x - h e_i)}{2h}, \qquad h = 10^{-5}$$

        and compare it with the gradient a that backward returned under that name:

        $$\mathrm{error} = \frac{\max_i |a_i - n_i|}{\max(1, \max_i |n_i|)}$$

        If a is missing from the dict, has another shape than its argument, or has an entry that is
        not finite, its error is `np.inf`. Return a dict from the name of every float64 array of
        `args` to a pair `(error, right)`: a float, and a bool that is True if the error is at most
        1e-6. Leave `args` as they are: move copies.""",
    reference=gradient_checker,
    library=(gradcheck.numeric_gradient, gradcheck.check_pair),
    outputs=("report",),
    cases=gradient_checker_cases,
    hints=(
        """Write a function first that returns the number L with one array exchanged:
        `{**args, name: z}` is args with another z in it.""",
        """`np.ndindex(x.shape)` runs through all entries. Copy x for every move, or put the entry
        back. Look at shape and finiteness before comparing: `a - n` broadcasts, and NaN is larger
        than nothing.""",
        """For each i: `plus, minus = x.copy(), x.copy()`, `plus[i] += h`, `minus[i] -= h`, `n[i] =
        (loss(plus) - loss(minus)) / (2 * h)` with `loss(z) = (dy *
        forward(**{**args, name: z})).sum()`. Then `error = np.abs(a - n).max() / max(1.0,
        np.abs(n).max())` and `report[name] = error, error <= 1e-6`.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=3,
    minutes=25,
    steps=gradient_checker_steps,
    float32=False,
    docs="derivations/gradcheck.md",
)


@GRADIENT_CHECKER.mistake("one-sided")
def one_sided(forward, backward, args, dy):
    """the difference is one-sided: its error is of order h, so right backwards are refused. The
    centred one's is of order h^2."""

    def slopes(f, x):
        n = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            plus = x.copy()
            plus[i] += H
            n[i] = (f(plus) - f(x)) / H
        return n

    return judged(forward, backward, args, dy, slopes)


@GRADIENT_CHECKER.mistake("divided-by-h")
def divided_by_h(forward, backward, args, dy):
    """the difference is divided by h: the two points are 2h apart."""
    return judged(forward, backward, args, dy, lambda f, x: 2 * central(f, x))


@GRADIENT_CHECKER.mistake("entry-not-put-back")
def not_put_back(forward, backward, args, dy):
    """an entry stays moved when the next one is looked at, so that all later slopes are taken
    elsewhere: put it back, or move a fresh copy."""

    def slopes(f, x):
        n, moved = np.zeros_like(x), x.copy()
        for i in np.ndindex(x.shape):
            moved[i] += H
            plus = f(moved)
            moved[i] -= 2 * H
            n[i] = (plus - f(moved)) / (2 * H)
        return n

    return judged(forward, backward, args, dy, slopes)


@GRADIENT_CHECKER.mistake("ones-for-dy")
def with_ones_for_dy(forward, backward, args, dy):
    """dy is replaced by ones, for backward and differences alike: for a softmax the gradient is
    then zero, and many mistakes do not show. Use the dy that is given."""
    return judged(forward, backward, args, np.ones_like(dy))


@GRADIENT_CHECKER.mistake("dy-missing-in-the-loss")
def ones_in_the_loss(forward, backward, args, dy):
    """the differences are those of sum(y), backward's gradient is that of sum(dy * y): multiply by
    dy in both."""
    return judged(forward, backward, args, dy, weights=np.ones_like(dy))


@GRADIENT_CHECKER.mistake("absolute-error")
def absolute(forward, backward, args, dy):
    """the error is not divided by max(1, max|n|): large gradients carry large rounding errors."""
    return judged(forward, backward, args, dy, error=lambda a, n: float(np.abs(a - n).max()))


@GRADIENT_CHECKER.mistake("floor-missing")
def relative_alone(forward, backward, args, dy):
    """the error is divided by max|n| alone: where all slopes are small this blows rounding up, and
    0 divides by 0. Divide by max(1, max|n|)."""

    def error(a, n):
        return float(np.abs(a - n).max() / np.abs(n).max())

    return judged(forward, backward, args, dy, error=error)


@GRADIENT_CHECKER.mistake("entry-by-entry")
def entry_by_entry(forward, backward, args, dy):
    """each entry is divided by its own slope: the scale is one number for the array,
    max(1, max|n|)."""

    def error(a, n):
        return float((np.abs(a - n) / np.maximum(1.0, np.abs(n))).max())

    return judged(forward, backward, args, dy, error=error)


@GRADIENT_CHECKER.mistake("mean-error")
def averaged(forward, backward, args, dy):
    """the mean difference is taken, in which a single wrong entry drowns: take the largest."""

    def error(a, n):
        return float(np.abs(a - n).mean() / max(1.0, np.abs(n).max()))

    return judged(forward, backward, args, dy, error=error)


@GRADIENT_CHECKER.mistake("signed-error")
def with_signs(forward, backward, args, dy):
    """the difference has kept its sign: an entry that is far too small passes. Take |a - n|."""

    def error(a, n):
        return float((a - n).max() / max(1.0, np.abs(n).max()))

    return judged(forward, backward, args, dy, error=error)


@GRADIENT_CHECKER.mistake("loose-tolerance")
def loose(forward, backward, args, dy):
    """errors far above 1e-6 are called right: a factor of 1.0003 is wrong, too."""
    report = judged(forward, backward, args, dy)
    return {name: (error, error <= 1e-2) for name, (error, _) in report.items()}


@GRADIENT_CHECKER.mistake("shape-unseen")
def shapes_unseen(forward, backward, args, dy):
    """a gradient of another shape than its argument is accepted: a - n broadcasts. Compare the
    shapes first."""
    report, grads = judged(forward, backward, args, dy), backward(dy, **args)
    for name, a in grads.items():
        if a.shape != args[name].shape and np.isfinite(a).all():
            n = central(lambda z, name=name: (dy * forward(**{**args, name: z})).sum(), args[name])
            report[name] = scaled(a, n), scaled(a, n) <= 1e-6
    return report


@GRADIENT_CHECKER.mistake("nan-accepted")
def nan_accepted(forward, backward, args, dy):
    """a gradient with NaN is accepted: NaN > 1e-6 is False. Ask whether the error is at most 1e-6,
    and look for entries that are not finite."""
    report, grads = judged(forward, backward, args, dy), backward(dy, **args)
    for name, a in grads.items():
        if np.isnan(a).any():
            report[name] = np.nan, not np.nan > 1e-6
    return report


@GRADIENT_CHECKER.mistake("missing-unseen")
def missing_unseen(forward, backward, args, dy):
    """only what backward returned is looked at: a gradient that is missing goes unseen. Go through
    args."""
    report, grads = judged(forward, backward, args, dy), backward(dy, **args)
    return {name: pair for name, pair in report.items() if name in grads}
