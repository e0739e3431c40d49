"""A gradient checker of one's own."""

import numpy as np

from npformer import gradcheck
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.optimization import pairs
from npformer.exercises.text import Text


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


def one_sided(forward, backward, args, dy):
    def slopes(f, x):
        n = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            plus = x.copy()
            plus[i] += H
            n[i] = (f(plus) - f(x)) / H
        return n

    return judged(forward, backward, args, dy, slopes)


def divided_by_h(forward, backward, args, dy):
    return judged(forward, backward, args, dy, lambda f, x: 2 * central(f, x))


def not_put_back(forward, backward, args, dy):
    def slopes(f, x):
        n, moved = np.zeros_like(x), x.copy()
        for i in np.ndindex(x.shape):
            moved[i] += H
            plus = f(moved)
            moved[i] -= 2 * H
            n[i] = (plus - f(moved)) / (2 * H)
        return n

    return judged(forward, backward, args, dy, slopes)


def with_ones_for_dy(forward, backward, args, dy):
    return judged(forward, backward, args, np.ones_like(dy))


def ones_in_the_loss(forward, backward, args, dy):
    return judged(forward, backward, args, dy, weights=np.ones_like(dy))


def absolute(forward, backward, args, dy):
    return judged(forward, backward, args, dy, error=lambda a, n: float(np.abs(a - n).max()))


def relative_alone(forward, backward, args, dy):
    def error(a, n):
        return float(np.abs(a - n).max() / np.abs(n).max())

    return judged(forward, backward, args, dy, error=error)


def entry_by_entry(forward, backward, args, dy):
    def error(a, n):
        return float((np.abs(a - n) / np.maximum(1.0, np.abs(n))).max())

    return judged(forward, backward, args, dy, error=error)


def averaged(forward, backward, args, dy):
    def error(a, n):
        return float(np.abs(a - n).mean() / max(1.0, np.abs(n).max()))

    return judged(forward, backward, args, dy, error=error)


def with_signs(forward, backward, args, dy):
    def error(a, n):
        return float((a - n).max() / max(1.0, np.abs(n).max()))

    return judged(forward, backward, args, dy, error=error)


def loose(forward, backward, args, dy):
    report = judged(forward, backward, args, dy)
    return {name: (error, error <= 1e-2) for name, (error, _) in report.items()}


def shapes_unseen(forward, backward, args, dy):
    report, grads = judged(forward, backward, args, dy), backward(dy, **args)
    for name, a in grads.items():
        if a.shape != args[name].shape and np.isfinite(a).all():
            n = central(lambda z, name=name: (dy * forward(**{**args, name: z})).sum(), args[name])
            report[name] = scaled(a, n), scaled(a, n) <= 1e-6
    return report


def nan_accepted(forward, backward, args, dy):
    report, grads = judged(forward, backward, args, dy), backward(dy, **args)
    for name, a in grads.items():
        if np.isnan(a).any():
            report[name] = np.nan, not np.nan > 1e-6
    return report


def missing_unseen(forward, backward, args, dy):
    report, grads = judged(forward, backward, args, dy), backward(dy, **args)
    return {name: pair for name, pair in report.items() if name in grads}


def gradient_checker_steps(forward, backward, args, dy):
    """Return the slopes of the last argument."""
    name, x = [(name, x) for name, x in args.items() if x.dtype == np.float64][-1]
    return {"n": central(lambda z: (dy * forward(**{**args, name: z})).sum(), x)}


GRADIENT_CHECKER = Exercise(
    id="gradient-checker",
    title=Text("Write your own gradient checker", "自己写一个梯度检查器"),
    statement=Text(
        "Write the referee of all the other exercises. It gets a `forward` and a `backward` that "
        "claims to belong to it, and must find out by itself whether it does. Your function is run "
        "on right backwards, which it must accept, and on wrong ones, which it must refuse.\n\n"
        "- `args` is a dict from name to array, float64 or integer, none empty; `forward(**args)` "
        "returns the array y;\n"
        "- `dy`, of the shape of y, is the gradient of the loss with respect to y, so take "
        "$L = \\sum dy \\cdot y$;\n"
        "- `backward(dy, **args)` returns a dict from name to gradient, an array, for float64 arrays "
        "alone. Neither function changes its arguments.\n\n"
        "For every **float64** array of `args` (integer arrays have no gradient) compute for each "
        "entry i the centred difference\n\n"
        "$$n_i = \\frac{L(x + h e_i) - L(x - h e_i)}{2h}, \\qquad h = 10^{-5}$$\n\n"
        "and compare it with the gradient a that backward returned under that name:\n\n"
        "$$\\mathrm{error} = \\frac{\\max_i |a_i - n_i|}{\\max(1, \\max_i |n_i|)}$$\n\n"
        "If a is missing from the dict, has another shape than its argument, or has an entry that "
        "is not finite, its error is `np.inf`. Return a dict from the name of every float64 array "
        "of `args` to a pair `(error, right)`: a float, and a bool that is True if the error is at "
        "most 1e-6. Leave `args` as they are: move copies.",
        "这里要写的是其他所有练习的裁判。它拿到一个 `forward` 和一个自称与之对应的 `backward`，要自己判断是否真的对应。"
        "你的函数会用正确的 backward 来运行（必须接受），也会用错误的来运行（必须拒绝）。\n\n"
        "- `args` 是从名字到数组的 dict，数组为 float64 或整数，都不为空；`forward(**args)` 返回数组 y；\n"
        "- `dy` 的形状与 y 相同，是损失对 y 的梯度，所以取 $L = \\sum dy \\cdot y$；\n"
        "- `backward(dy, **args)` 返回从名字到梯度（数组）的 dict，只含 float64 数组的名字；两个函数都不改动参数。\n\n"
        "对 `args` 中的每个 **float64** 数组（整数数组没有梯度），对每个元素 i 计算中心差分\n\n"
        "$$n_i = \\frac{L(x + h e_i) - L(x - h e_i)}{2h}, \\qquad h = 10^{-5}$$\n\n"
        "并与 backward 以该名字返回的梯度 a 比较：\n\n"
        "$$\\mathrm{error} = \\frac{\\max_i |a_i - n_i|}{\\max(1, \\max_i |n_i|)}$$\n\n"
        "若 dict 中没有 a、a 的形状与参数不同，或含有非有限的元素，则误差为 `np.inf`。返回一个 dict，把 `args` 中每个 float64 数组的名字对应到 "
        "`(error, right)`：一个 float 和一个 bool（误差不超过 1e-6 时为 True）。不要改动 `args`：请在副本上加减 h。",
    ),
    reference=gradient_checker,
    library=(gradcheck.numeric_gradient, gradcheck.check_pair),
    outputs=("report",),
    cases=gradient_checker_cases,
    hints=(
        Text(
            "Write a function first that returns the number L with one array exchanged: "
            "`{**args, name: z}` is args with another z in it.",
            "先写一个函数：换掉其中一个数组后返回数 L。`{**args, name: z}` 就是把该项换成 z 的 args。",
        ),
        Text(
            "`np.ndindex(x.shape)` runs through all entries. Copy x for every move, or put the "
            "entry back. Look at shape and finiteness before comparing: `a - n` broadcasts, and "
            "NaN is larger than nothing.",
            "`np.ndindex(x.shape)` 遍历所有元素。每次加减 h 都复制 x，或者用完后放回原值。比较之前先看形状和是否有限："
            "`a - n` 会广播，而 NaN 不大于任何数。",
        ),
        Text(
            "For each i: `plus, minus = x.copy(), x.copy()`, `plus[i] += h`, `minus[i] -= h`, "
            "`n[i] = (loss(plus) - loss(minus)) / (2 * h)` with "
            "`loss(z) = (dy * forward(**{**args, name: z})).sum()`. Then "
            "`error = np.abs(a - n).max() / max(1.0, np.abs(n).max())` and "
            "`report[name] = error, error <= 1e-6`.",
            "对每个 i：`plus, minus = x.copy(), x.copy()`，`plus[i] += h`，`minus[i] -= h`，"
            "`n[i] = (loss(plus) - loss(minus)) / (2 * h)`，其中 "
            "`loss(z) = (dy * forward(**{**args, name: z})).sum()`。然后 "
            "`error = np.abs(a - n).max() / max(1.0, np.abs(n).max())`，"
            "`report[name] = error, error <= 1e-6`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "one-sided",
            one_sided,
            Text(
                "the difference is one-sided: its error is of order h, so right backwards are "
                "refused. The centred one's is of order h^2.",
                "用的是单侧差分：误差为 h 阶，会拒绝正确的 backward。中心差分的误差是 h^2 阶。",
            ),
        ),
        Misconception(
            "divided-by-h",
            divided_by_h,
            Text(
                "the difference is divided by h: the two points are 2h apart.",
                "差值除以了 h：两点相距 2h。",
            ),
        ),
        Misconception(
            "entry-not-put-back",
            not_put_back,
            Text(
                "an entry stays moved when the next one is looked at, so that all later slopes are "
                "taken elsewhere: put it back, or move a fresh copy.",
                "检查下一个元素时，前一个还停在移动后的位置，之后的斜率都取错了地方："
                "应放回原值，或每次移动新的副本。",
            ),
        ),
        Misconception(
            "ones-for-dy",
            with_ones_for_dy,
            Text(
                "dy is replaced by ones, for backward and differences alike: for a softmax the "
                "gradient is then zero, and many mistakes do not show. Use the dy that is given.",
                "backward 和差分两边都把 dy 换成了全 1：这时 softmax 的梯度恒为零，许多错误看不出来。"
                "应使用给定的 dy。",
            ),
        ),
        Misconception(
            "dy-missing-in-the-loss",
            ones_in_the_loss,
            Text(
                "the differences are those of sum(y), backward's gradient is that of sum(dy * y): "
                "multiply by dy in both.",
                "差分用的是 sum(y)，而 backward 的梯度对应 sum(dy * y)：两边都要乘 dy。",
            ),
        ),
        Misconception(
            "absolute-error",
            absolute,
            Text(
                "the error is not divided by max(1, max|n|): large gradients carry large rounding "
                "errors.",
                "误差没有除以 max(1, max|n|)：梯度大时，舍入误差也大。",
            ),
        ),
        Misconception(
            "floor-missing",
            relative_alone,
            Text(
                "the error is divided by max|n| alone: where all slopes are small this blows "
                "rounding up, and 0 divides by 0. Divide by max(1, max|n|).",
                "误差只除以了 max|n|：斜率都很小时会放大舍入误差，甚至 0 除以 0。应除以 max(1, max|n|)。",
            ),
        ),
        Misconception(
            "entry-by-entry",
            entry_by_entry,
            Text(
                "each entry is divided by its own slope: the scale is one number for the array, "
                "max(1, max|n|).",
                "每个元素除以了各自的斜率：整个数组应共用一个尺度 max(1, max|n|)。",
            ),
        ),
        Misconception(
            "mean-error",
            averaged,
            Text(
                "the mean difference is taken, in which a single wrong entry drowns: take the "
                "largest.",
                "取了差的平均值，单个错误的元素会被淹没：应取最大值。",
            ),
        ),
        Misconception(
            "signed-error",
            with_signs,
            Text(
                "the difference has kept its sign: an entry that is far too small passes. Take "
                "|a - n|.",
                "差值没有取绝对值：偏小很多的元素也能通过。应取 |a - n|。",
            ),
        ),
        Misconception(
            "loose-tolerance",
            loose,
            Text(
                "errors far above 1e-6 are called right: a factor of 1.0003 is wrong, too.",
                "误差远大于 1e-6 时仍判为正确：差一个 1.0003 的因子也是错的。",
            ),
        ),
        Misconception(
            "shape-unseen",
            shapes_unseen,
            Text(
                "a gradient of another shape than its argument is accepted: a - n broadcasts. "
                "Compare the shapes first.",
                "接受了形状与参数不同的梯度：a - n 会广播。应先比较形状。",
            ),
        ),
        Misconception(
            "nan-accepted",
            nan_accepted,
            Text(
                "a gradient with NaN is accepted: NaN > 1e-6 is False. Ask whether the error is at "
                "most 1e-6, and look for entries that are not finite.",
                "接受了含 NaN 的梯度：NaN > 1e-6 为 False。应判断误差是否不超过 1e-6，并检查非有限的元素。",
            ),
        ),
        Misconception(
            "missing-unseen",
            missing_unseen,
            Text(
                "only what backward returned is looked at: a gradient that is missing goes "
                "unseen. Go through args.",
                "只检查了 backward 返回的梯度：漏掉的梯度没有被发现。应遍历 args。",
            ),
        ),
    ),
    topic="optimization",
    tracks=("interview", "class", "gradcheck"),
    difficulty=3,
    minutes=25,
    steps=gradient_checker_steps,
    float32=False,
    docs="derivations/gradcheck.md",
)

EXERCISES = (GRADIENT_CHECKER,)
