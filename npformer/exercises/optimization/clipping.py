"""Clipping by the global norm."""

import numpy as np

from npformer import optim
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def clip_global_norm(grads, max_norm):
    """Return the clipped gradients, a new dict of new arrays, and the norm before, a float.

    grads: a dict from name to array; max_norm: a number above 0.
    """
    clipped = {name: grad.copy() for name, grad in grads.items()}
    norm = optim.clip_by_global_norm(clipped, max_norm)
    return clipped, norm


def clip_global_norm_cases(rng):
    """Return gradients of several arrays, above and below the bound."""

    def case(shapes, max_norm, scale=1.0, part=""):
        names = ("w_1", "b_1", "w_2", "gamma")
        grads = {n: scale * rng.normal(size=s) for n, s in zip(names, shapes, strict=False)}
        return Case({"grads": grads, "max_norm": max_norm}, part)

    def with_one_large_entry():
        made = case([(2, 5), (5,), (5, 3)], 2.7, scale=0.1)
        made.args["grads"]["w_1"][1, 2] = 3.0
        return made

    return [
        case([(2, 3), (3,)], 0.7),
        case([(2, 5), (5,), (5, 3), (7,)], 1.3, scale=3.0),
        with_one_large_entry(),
        case([(2, 3), (3,)], 50.0, part="below the bound"),
        case([(3, 7)], 0.3, part="one array"),
        case([(2, 3), (3,)], 1.0, scale=0.0, part="gradients of zero"),
        case([(2, 3), (3,)], 1.0, scale=1e6, part="extreme values"),
    ]


def common_norm(grads):
    """Return the norm of all arrays as one vector."""
    return float(np.sqrt(sum((g * g).sum() for g in grads.values())))


def each_on_its_own(grads, max_norm):
    norms = {name: np.sqrt((g * g).sum()) for name, g in grads.items()}
    scales = {name: min(1.0, max_norm / (norm + 1e-6)) for name, norm in norms.items()}
    return {name: g * scales[name] for name, g in grads.items()}, common_norm(grads)


def always_scaling(grads, max_norm):
    norm = common_norm(grads)
    return {name: g * (max_norm / (norm + 1e-6)) for name, g in grads.items()}, norm


def without_the_root(grads, max_norm):
    norm = common_norm(grads) ** 2
    return {name: g * min(1.0, max_norm / (norm + 1e-6)) for name, g in grads.items()}, norm


def adding_norms(grads, max_norm):
    norm = float(sum(np.sqrt((g * g).sum()) for g in grads.values()))
    return {name: g * min(1.0, max_norm / (norm + 1e-6)) for name, g in grads.items()}, norm


def entry_by_entry(grads, max_norm):
    return {name: np.clip(g, -max_norm, max_norm) for name, g in grads.items()}, common_norm(grads)


def norm_afterwards(grads, max_norm):
    scale = min(1.0, max_norm / (common_norm(grads) + 1e-6))
    clipped = {name: g * scale for name, g in grads.items()}
    return clipped, common_norm(clipped)


def largest_entry(grads, max_norm):
    norm = float(max(np.abs(g).max() for g in grads.values()))
    return {name: g * min(1.0, max_norm / (norm + 1e-6)) for name, g in grads.items()}, norm


def root_of_the_mean(grads, max_norm):
    norm = common_norm(grads) / np.sqrt(sum(g.size for g in grads.values()))
    return {name: g * min(1.0, max_norm / (norm + 1e-6)) for name, g in grads.items()}, float(norm)


def without_eps(grads, max_norm):
    norm = common_norm(grads)
    scale = max_norm / norm if norm > max_norm else 1.0
    return {name: g * scale for name, g in grads.items()}, norm


CLIP_GLOBAL_NORM = Exercise(
    id="clip-global-norm",
    title=Text("Clipping by the global norm", "按全局范数裁剪"),
    statement=Text(
        "One long step can undo a hundred short ones. Scale all gradients by **one** number, so "
        "that as one long vector they are at most c long and keep their direction:\n\n"
        "$$\\lVert g \\rVert = \\sqrt{\\textstyle\\sum_i \\lVert g_i \\rVert^2}, \\qquad "
        "g_i \\leftarrow g_i\\,\\min\\left(1, \\frac{c}{\\lVert g \\rVert + 10^{-6}}\\right)$$\n\n"
        "`grads` is a dict from name to array, not empty; `max_norm` is c > 0. Return `clipped, norm`: a new "
        "dict of new arrays with the same names, and $\\lVert g \\rVert$ **before** clipping, a "
        "float. The $10^{-6}$ is PyTorch's and is graded.",
        "一步太长，可能毁掉前面的一百步。用**同一个**数缩放所有梯度，使它们连成的长向量长度不超过 c，且方向不变：\n\n"
        "$$\\lVert g \\rVert = \\sqrt{\\textstyle\\sum_i \\lVert g_i \\rVert^2}, \\qquad "
        "g_i \\leftarrow g_i\\,\\min\\left(1, \\frac{c}{\\lVert g \\rVert + 10^{-6}}\\right)$$\n\n"
        "`grads` 是从名字到数组的非空 dict，`max_norm` 是 c > 0。返回 `clipped, norm`：名字相同的新 dict（新数组），"
        "以及裁剪**之前**的 $\\lVert g \\rVert$（float）。$10^{-6}$ 与 PyTorch 相同，也在检查之列。",
    ),
    reference=clip_global_norm,
    library=(optim.clip_by_global_norm, optim.global_norm),
    outputs=("clipped", "norm"),
    cases=clip_global_norm_cases,
    hints=(
        Text(
            "First one number from all arrays, then one factor for all arrays.",
            "先由所有数组算出一个数，再对所有数组用同一个系数。",
        ),
        Text(
            "Add the squares of all entries of all arrays and take one root at the end; the factor "
            "is never above 1.",
            "把所有数组所有元素的平方加起来，最后只开一次方；系数不超过 1。",
        ),
        Text(
            "`norm = float(np.sqrt(sum((g * g).sum() for g in grads.values())))`; "
            "`scale = min(1.0, max_norm / (norm + 1e-6))`; "
            "`{name: g * scale for name, g in grads.items()}`.",
            "`norm = float(np.sqrt(sum((g * g).sum() for g in grads.values())))`；"
            "`scale = min(1.0, max_norm / (norm + 1e-6))`；"
            "再返回 `{name: g * scale for name, g in grads.items()}`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "each-array-alone",
            each_on_its_own,
            Text(
                "each array is clipped by its own norm, as in TinyBERT's released code: the large "
                "ones shrink, the small ones do not, and the direction changes. All get one factor.",
                "每个数组按各自的范数裁剪（TinyBERT 发布的代码就是这样）：大的缩小而小的不变，方向就变了。"
                "所有数组应使用同一个系数。",
            ),
        ),
        Misconception(
            "always-scaled",
            always_scaling,
            Text(
                "gradients below the bound are stretched to it: the factor is at most 1.",
                "小于上限的梯度也被放大到上限：系数最大为 1。",
            ),
        ),
        Misconception(
            "root-missing",
            without_the_root,
            Text(
                "the norm is the sum of squares: the root is missing.",
                "范数用了平方和：漏了开方。",
            ),
        ),
        Misconception(
            "norms-added",
            adding_norms,
            Text(
                "the norms of the arrays are added: add their squares and take one root.",
                "把各数组的范数直接相加了：应把平方相加，再开一次方。",
            ),
        ),
        Misconception(
            "entries-clipped",
            entry_by_entry,
            Text(
                "each entry is clipped: that is clipping by value, which changes the direction. "
                "Scale all entries by one factor.",
                "逐个元素做了截断：那是按值裁剪，会改变方向。应对所有元素用同一个系数缩放。",
            ),
        ),
        Misconception(
            "norm-after-clipping",
            norm_afterwards,
            Text(
                "the norm that is returned is the one after clipping: the one before shows whether "
                "training is getting out of hand.",
                "返回的是裁剪之后的范数：裁剪之前的范数才能看出训练是否失控。",
            ),
        ),
        Misconception(
            "largest-entry",
            largest_entry,
            Text(
                "the largest entry is taken for the norm: it is the root of the sum of squares.",
                "把最大的元素当成了范数：应为平方和的平方根。",
            ),
        ),
        Misconception(
            "mean-square",
            root_of_the_mean,
            Text(
                "the root of the mean square is taken: the norm is of the sum, whatever the number "
                "of entries.",
                "用了均方根：范数是平方和的平方根，与元素个数无关。",
            ),
        ),
        Misconception(
            "eps-missing",
            without_eps,
            Text(
                "the 1e-6 below the fraction is missing: max_norm / (norm + 1e-6).",
                "分母漏了 1e-6：应为 max_norm / (norm + 1e-6)。",
            ),
        ),
    ),
    topic="optimization",
    tracks=("interview", "class"),
    difficulty=1,
    minutes=10,
    steps=lambda grads, max_norm: {
        "norm": common_norm(grads),
        "scale": min(1.0, max_norm / (common_norm(grads) + 1e-6)),
    },
    factors=lambda grads, max_norm: {"max_norm": max_norm},
    docs="derivations/optimizers.md",
)

EXERCISES = (CLIP_GLOBAL_NORM,)
