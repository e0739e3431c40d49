"""Every sentence of the generic diagnoses, each on a made-up mistake, in both languages."""

from types import SimpleNamespace

import numpy as np
import pytest

from npformer.exercises.checker import check
from npformer.exercises.checker.arrays import describe
from npformer.exercises.checker.call import call
from npformer.exercises.checker.check import RETURNS
from npformer.exercises.checker.factors import name_factor
from npformer.exercises.checker.ignored import ignored
from npformer.exercises.checker.not_finite import not_finite
from npformer.exercises.checker.pairs import Pair
from npformer.exercises.checker.steps import first_wrong_step
from npformer.exercises.checker.trial import Trial
from npformer.exercises.course import find
from npformer.exercises.exercise import Case, Exercise
from npformer.exercises.text import Text

# No size of one case is that of the other, and none is a multiple of another.
SIZES = ({"B": 2, "T": 3, "K": 7, "C": 13}, {"B": 5, "T": 4, "K": 11, "C": 17})
NUMBERS = ({"tau": 1.7, "odd": 1.234}, {"tau": 2.3, "odd": 2.345})


def made_up_cases():
    rng = np.random.default_rng(0)
    for sizes, numbers in zip(SIZES, NUMBERS, strict=True):
        shape = sizes["B"], sizes["T"], sizes["K"]
        keep = rng.random(shape[:2]) < 0.5
        keep[0, :2] = True, False
        yield SimpleNamespace(
            **sizes,
            **numbers,
            dy=rng.normal(size=shape),
            x=rng.normal(size=shape),
            w=rng.normal(size=shape[-1]),
            keep=keep,
            noise=rng.normal(size=shape),
        )


def right(c):
    return c.dy * c.x + c.w


def addends(c):
    return {"dy * x": c.dy * c.x, "w": c.w}


def pairs(got, right=right, *, terms=lambda c: {}, others=(), masks=()):
    return [
        Pair(
            got(c),
            right(c),
            {name: getattr(c, name) for name in ("B", "K", "C", "tau")},
            terms(c),
            {name: getattr(c, name) for name in others},
            {name: getattr(c, name) for name in masks},
        )
        for c in made_up_cases()
    ]


def square(c):
    n = min(c.B, c.T)
    return right(c)[:, :n, :n]  # (B, n, n)


TRANSPOSED = "dx is transposed: two of its axes are exchanged", "dx 被转置了：有两个轴互换了"
NOT_SUMMED = (
    "dx is larger than its argument, which was broadcast: the gradient must be summed over all "
    "axes along which that happened",
    "dx 比对应的参数大：该参数曾被广播，所以它的梯度要沿所有被广播的轴求和",
)
SHIFTED = "dx is shifted by one along axis 1", "dx 沿轴 1 错开了一位"


def off_by_a_number(en, zh):
    return (
        f"dx is off by a number that is the same along the {en} axis: a sum or mean over that axis "
        "is missing or wrong",
        f"dx 的误差沿{zh}轴是常数：沿该轴的求和或平均漏掉了，或者算错了",
    )


def off_by_a_factor(en, zh):
    return (
        f"dx is off by a factor that is the same along the {en} axis: something there is one "
        "number for each row (a deviation, a norm, a count, a weight) and is missing or wrong",
        f"dx 与正确结果之比沿{zh}轴不变：每行一个的量（标准差、范数、个数、权重）漏掉了，"
        "或者算错了",
    )


DESCRIBED = {
    "not summed": (pairs(right, lambda c: right(c).sum(axis=(0, 1))), *NOT_SUMMED),
    "summed over the first axis alone": (
        pairs(lambda c: right(c).sum(axis=0), lambda c: right(c).sum(axis=(0, 1))),
        *NOT_SUMMED,
    ),
    "not summed over axes of length 1": (
        pairs(right, lambda c: right(c).sum(axis=(0, 2), keepdims=True)),
        *NOT_SUMMED,
    ),
    "not summed where one case has nothing to sum": (
        pairs(
            lambda c: c.w * np.ones((c.B - 2, 1)) if c.B > 2 else c.w,
            lambda c: c.w * (c.B - 2) if c.B > 2 else c.w,
        ),
        *NOT_SUMMED,
    ),
    "zero": (
        pairs(lambda c: 0 * c.x),
        "dx is zero everywhere",
        "dx 处处为零",
    ),
    "sign": (pairs(lambda c: -right(c)), "dx has the wrong sign", "dx 的符号反了"),
    "a number in each case": (
        pairs(lambda c: right(c) * c.odd),
        "dx is right but for a number, which differs from case to case: 1.234, 2.345",
        "dx 只差一个因子，但各用例的因子不同：1.234, 2.345",
    ),
    "a term missing": (
        pairs(lambda c: c.dy * c.x, terms=addends),
        "dx: the term w is missing",
        "dx：缺少 w 这一项",
    ),
    "a term doubled": (
        pairs(lambda c: c.dy * c.x + 2 * c.w, terms=addends),
        "dx: the term w is counted twice",
        "dx：w 这一项算了两次",
    ),
    "a term flipped": (
        pairs(lambda c: c.w - c.dy * c.x, terms=addends),
        "dx: the term dy * x has the wrong sign",
        "dx：dy * x 这一项的符号反了",
    ),
    "a term scaled by a size": (
        pairs(lambda c: c.dy * c.x + c.w / c.C, terms=addends),
        "dx: the term w is multiplied by 1/C",
        "dx：w 这一项被乘了 1/C",
    ),
    "a term scaled by a number": (
        pairs(lambda c: c.dy * c.x + 0.3 * c.w, terms=addends),
        "dx: the term w is multiplied by 0.3",
        "dx：w 这一项被乘了 0.3",
    ),
    "a term scaled by a number in each case": (
        pairs(lambda c: c.dy * c.x + c.odd * c.w, terms=addends),
        "dx: the term w is multiplied by a number which differs from case to case: 1.234, 2.345",
        "dx：w 这一项被乘了一个数，各用例不同：1.234, 2.345",
    ),
    "two terms": (
        pairs(lambda c: 2 * c.dy * c.x - c.w, terms=addends),
        "dx: the term dy * x is counted twice; the term w has the wrong sign",
        "dx：dy * x 这一项算了两次；w 这一项的符号反了",
    ),
    "transposed": (pairs(lambda c: right(c).swapaxes(-1, -2)), *TRANSPOSED),
    "transposed and square": (pairs(lambda c: square(c).swapaxes(-1, -2), square), *TRANSPOSED),
    "the outer axes exchanged": (
        pairs(lambda c: right(c)[:2, :, :2].swapaxes(0, 2), lambda c: right(c)[:2, :, :2]),
        *TRANSPOSED,
    ),
    "heads and positions exchanged": (
        pairs(lambda c: right(c)[:2, :2].swapaxes(0, 1), lambda c: right(c)[:2, :2]),
        *TRANSPOSED,
    ),
    "reshaped": (
        pairs(lambda c: right(c).swapaxes(-1, -2).reshape(right(c).shape)),
        "dx has the right numbers in the wrong places: a reshape where a transpose belongs, or one "
        "without the other",
        "dx 的数都对，但位置不对：该转置的地方用了 reshape，或者两步中少了一步",
    ),
    "a factor left out": (
        pairs(lambda c: c.dy, lambda c: c.dy * c.x, others=["dy", "x"]),
        "dx lacks the factor x",
        "dx 少乘了 x",
    ),
    "a factor too many": (
        pairs(lambda c: right(c) * c.w, others=["dy", "w"]),
        "dx is multiplied by w once too often",
        "dx 多乘了一次 w",
    ),
    "a factor left out of a term": (
        pairs(lambda c: c.dy + c.w, terms=addends, others=["dy", "x"]),
        "dx: the term dy * x lacks the factor x",
        "dx：dy * x 这一项少乘了 x",
    ),
    "a factor too many in a term": (
        pairs(lambda c: c.dy * c.x + c.w**2, terms=addends, others=["x", "w"]),
        "dx: the term w is multiplied by w once too often",
        "dx：w 这一项多乘了一次 w",
    ),
    "wrong outside the mask": (
        pairs(lambda c: np.where(c.keep[..., None], right(c), c.noise), masks=["keep"]),
        "dx is wrong only where keep is False: it is not applied there, or in the wrong step",
        "dx 只在 keep 为 False 的地方不对：那里漏了这个掩码，或者把它用在了错误的步骤",
    ),
    "shifted": (pairs(lambda c: np.roll(right(c), 1, axis=1)), *SHIFTED),
    "shifted back": (pairs(lambda c: np.roll(right(c), -1, axis=1)), *SHIFTED),
    "off by a number of each row": (
        pairs(lambda c: right(c) + c.noise[..., :1]),
        *off_by_a_number("last", "最后一个"),
    ),
    "off by a number of each column": (
        pairs(lambda c: right(c) + c.noise[0]),
        *off_by_a_number("first", "第一个"),
    ),
    "off by a factor of each row": (
        pairs(lambda c: right(c) * c.noise[..., :1]),
        *off_by_a_factor("last", "最后一个"),
    ),
    "off by a factor of each column": (
        pairs(lambda c: right(c) * c.noise[0]),
        *off_by_a_factor("first", "第一个"),
    ),
}


@pytest.mark.parametrize("name", DESCRIBED)
def test_an_array_that_is_wrong_is_described(name):
    of, en, zh = DESCRIBED[name]
    assert describe("dx", of) == Text(en, zh)


FACTORS = {
    "sqrt(K)": lambda c: np.sqrt(c.K),
    "1/sqrt(K)": lambda c: 1 / np.sqrt(c.K),
    "1/B": lambda c: 1 / c.B,
    "tau": lambda c: c.tau,
    "tau^2": lambda c: c.tau**2,
    "1/tau^2": lambda c: c.tau**-2,
    "1/C": lambda c: 1 / c.C,
    "B K": lambda c: c.B * c.K,
    "1/(B C)": lambda c: 1 / (c.B * c.C),
    "B/K": lambda c: c.B / c.K,
    "K/B": lambda c: c.K / c.B,
    "-1/C": lambda c: -1 / c.C,
    "2": lambda c: 2,
    "1/2": lambda c: 0.5,
    "0.3": lambda c: 0.3,
    "1000": lambda c: 1000,
}


@pytest.mark.parametrize("said", FACTORS)
def test_a_factor_is_called_by_its_name(said):
    number = FACTORS[said]
    assert describe("dx", pairs(lambda c: right(c) * number(c))) == Text(
        f"dx is the right result times {said}: that factor does not belong there, or its inverse "
        "is missing",
        f"dx 是正确结果乘以 {said}：多了这个因子，或少了它的倒数",
    )


@pytest.mark.parametrize(
    ("numbers", "sizes", "said"),
    [
        ([5, 7], [5, 7], "B"),
        ([3, 3], [3, 5], "3"),
        ([5, 5], [5, 7], None),
        ([5], [5], None),
        ([5, 5], [5, 5], None),
        ([2], [2], "2"),
        ([0.5], [2], "1/2"),
        ([1.7], [1.7], "B"),  # no size, and unlikely to be anything else
        ([5, -7], [5, 7], None),
        ([1e-9, 1e-9], [1e5, 1.1e5], None),
    ],
)
def test_a_size_is_named_only_by_two_cases_that_differ_in_it(numbers, sizes, said):
    assert name_factor(numbers, [{"B": size} for size in sizes]) == said


def test_one_case_gives_the_number():
    one = pairs(lambda c: right(c) * c.C)[:1]
    assert "times 13:" in describe("dx", one).en


def test_a_case_that_is_zero_does_not_hide_a_factor():
    first, second = pairs(lambda c: right(c) * c.K)
    nothing = Pair(0 * first.got, 0 * first.expected, {}, {}, {}, {})
    third = pairs(lambda c: right(c)[:1] * c.K, lambda c: right(c)[:1])[0]
    assert "times K:" in describe("dx", [nothing, second, third]).en


ALIKE = {
    "any": right,
    "symmetric": lambda c: square(c) + square(c).swapaxes(-1, -2),
    "one row": lambda c: right(c)[:1, :1],
    "zero": lambda c: 0 * c.x,
    "the same everywhere": lambda c: 0 * c.x + 3,
    "empty": lambda c: right(c)[:0],
    "a number": lambda c: right(c).sum(),
}


@pytest.mark.parametrize("name", ALIKE)
def test_nothing_is_said_of_right_arrays(name):
    of = pairs(
        lambda c: np.array(ALIKE[name](c)) * (1 + 1e-15),
        lambda c: np.array(ALIKE[name](c)),
        others=["x", "tau"],
        masks=["keep"],
    )
    ones = [pair._replace(others={"ones": np.ones(1), **pair.others}) for pair in of]
    terms = [pair._replace(terms={"all": pair.expected}) for pair in ones]
    assert describe("dx", ones) is describe("dx", terms) is None


@pytest.mark.parametrize("strange", [np.nan, np.inf])
def test_nothing_is_said_of_what_is_not_finite_or_random(strange):
    assert describe("dx", pairs(lambda c: right(c) * strange)) is None
    everything = {"terms": addends, "others": ["dy", "x", "w"], "masks": ["keep"]}
    assert describe("dx", pairs(lambda c: c.noise, **everything)) is None
    zeros = pairs(lambda c: c.noise, lambda c: right(c) * (c.x > 0), **everything)
    assert describe("dx", zeros) is None  # and nothing is divided by them


def exercise(reference, cases, steps=None):
    return Exercise(
        id="made-up",
        title="",
        statement="",
        reference=reference,
        library=(),
        outputs=("dx",),
        cases=lambda rng: [Case(args) for args in cases],
        hints=("", "", ""),
        tracks=(),
        difficulty=1,
        minutes=1,
        steps=steps,
    )


def tried(reference, fn, cases):
    return [Trial(args, "", {"dx": reference(**args)}, call(fn, args, None)) for args in cases]


def gated(q, k, keep, tau, shift):
    scores = q * k**2 / tau + shift  # (B, T, D)
    return scores if keep is None else scores * keep[..., None]


def gated_needs_a_mask(q, k, keep, tau, shift):
    return (q * k**2 / tau + shift) * keep[..., None]


def scrambled(x):
    return x.reshape(x.shape[-1], -1).T.reshape(x.shape)


GATED_CASES = [
    {"q": c.dy, "k": c.x, "keep": c.keep, "tau": c.tau, "shift": c.odd} for c in made_up_cases()
]
FORGOTTEN = (
    "it is as if {0} were {1} everywhere: {0} is forgotten",
    "相当于 {0} 全为 {1}：忘了用 {0}",
)
IGNORED = {
    "None": (gated, {"keep": lambda a: None}, "keep is ignored", "没有用到 keep"),
    "all True": (
        gated_needs_a_mask,
        {"keep": lambda a: np.ones_like(a["keep"])},
        "keep is ignored",
        "没有用到 keep",
    ),
    "not": (
        gated,
        {"keep": lambda a: ~a["keep"]},
        "keep is the wrong way round: True is taken for False",
        "keep 用反了：把 True 当成了 False",
    ),
    "exchanged": (
        gated,
        {"q": lambda a: a["k"], "k": lambda a: a["q"]},
        "q and k are exchanged",
        "q 和 k 用反了",
    ),
    "one for the other": (
        gated,
        {"k": lambda a: a["q"]},
        "q is used where k belongs",
        "该用 k 的地方用了 q",
    ),
    "reshaped": (
        gated,
        {"q": lambda a: scrambled(a["q"])},
        "q is reshaped where it must be transposed: that scrambles it",
        "q 该转置的地方用了 reshape，元素的顺序全乱了",
    ),
    "ones": (
        gated,
        {"k": lambda a: np.ones_like(a["k"])},
        *(words.format("k", 1) for words in FORGOTTEN),
    ),
    "zeros": (
        gated,
        {"q": lambda a: np.zeros_like(a["q"])},
        *(words.format("q", 0) for words in FORGOTTEN),
    ),
    "1": (
        gated,
        {"tau": lambda a: 1.0},
        "it is as if tau were 1: tau is forgotten",
        "相当于 tau = 1：忘了用 tau",
    ),
    "0": (
        gated,
        {"shift": lambda a: 0.0},
        "it is as if shift were 0: shift is forgotten",
        "相当于 shift = 0：忘了用 shift",
    ),
}


@pytest.mark.parametrize("name", IGNORED)
def test_an_argument_that_is_not_used_as_it_should_be(name):
    reference, instead, en, zh = IGNORED[name]
    trials = tried(reference, reference, GATED_CASES)
    got = [reference(**a | {n: put(a) for n, put in instead.items()}) for a in GATED_CASES]
    said = list(ignored(exercise(reference, GATED_CASES), "dx", trials, got))
    assert Text(f"dx: {en}", f"dx：{zh}") in said
    assert len(said) <= 2  # q = 0 and k = 0 are the same


def test_nothing_is_said_of_arguments_if_the_result_is_right_or_random():
    trials = tried(gated, gated, GATED_CASES)
    of = exercise(gated, GATED_CASES)
    for got in ([t.expected["dx"] for t in trials], [c.noise for c in made_up_cases()], [None] * 2):
        assert not list(ignored(of, "dx", trials, got))


def test_a_number_that_is_not_always_given_does_no_harm():
    def scaled(x, tau):
        return x if tau is None else x * tau

    cases = [{"x": np.ones(2), "tau": tau} for tau in (3.0, None)]
    said = list(
        ignored(exercise(scaled, cases), "dx", tried(scaled, scaled, cases), [np.ones(2)] * 2)
    )
    assert Text("dx: tau is ignored", "dx：没有用到 tau") in said


def centred(dy, x):
    return x * (dy - (dy * x).sum(axis=-1, keepdims=True))


def test_the_wrong_axis():
    cases = [{"dy": c.dy, "x": c.x} for c in made_up_cases()]

    def fn(dy, x):
        return x * (dy - (dy * x).sum(axis=-2, keepdims=True))

    report = check(exercise(centred, cases), fn)
    assert report.diagnoses == [Text("dx: the sums run along the wrong axis", "dx：求和沿错了轴")]


def shares(x):
    total = x.sum(axis=-1, keepdims=True)
    return np.divide(x, total, out=np.zeros_like(x), where=total != 0)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def divides(x):
    total = x.sum(axis=-1, keepdims=True)
    return x / total


def overflows(x):
    powers = np.exp(x)
    return powers / powers.sum(axis=-1, keepdims=True)


def takes_the_inverse(x):
    total = x.sum(axis=-1, keepdims=True)
    inverse = 1 / total
    total = total + 1
    return inverse * x


NOT_FINITE = {
    "0 / 0": (
        shares,
        divides,
        [[1.0, 2.0], [0.0, 0.0]],
        "dx is NaN where total is 0: it is divided by, or its logarithm is taken",
        "total 为 0 的地方，dx 是 NaN：除以了它，或对它取了对数",
    ),
    "1 / 0": (
        shares,
        divides,
        [[1.0, 2.0], [1.0, -1.0]],
        "dx is infinite where total is 0: it is divided by, or its logarithm is taken",
        "total 为 0 的地方，dx 是无穷大：除以了它，或对它取了对数",
    ),
    "overflow": (
        softmax,
        overflows,
        [[1.0, 2.0], [1e4, 1.0]],
        "dx is NaN where powers is infinite: something in it overflows",
        "powers 为无穷大的地方，dx 是 NaN：计算它时溢出了",
    ),
    "an infinite inverse": (
        shares,
        takes_the_inverse,
        [[1.0, 2.0], [1.0, -1.0]],
        "dx is infinite where inverse is infinite: something in it overflows",
        "inverse 为无穷大的地方，dx 是无穷大：计算它时溢出了",
    ),
}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_where_a_number_that_is_not_finite_comes_from(name):
    reference, fn, x, en, zh = NOT_FINITE[name]
    trials = tried(reference, fn, [{"x": np.array(x)}])
    assert list(not_finite("dx", trials, [t.outcome.value for t in trials])) == [Text(en, zh)]


def test_nothing_is_said_of_zeros_where_all_is_finite():
    trials = tried(shares, divides, [{"x": np.array([[0.0, 2.0], [1.0, 1.0]])}])
    assert not list(not_finite("dx", trials, [t.outcome.value for t in trials]))


def chain(x):
    squares = x**2
    total = squares.sum(axis=-1, keepdims=True)
    return x / total


CHAIN = exercise(
    chain,
    [{"x": np.array([[1.0, 2.0, 3.0], [2.0, 0.5, 1.0]])}],
    steps=lambda x: {"squares": x**2, "total": (x**2).sum(axis=-1, keepdims=True)},
)


def wrong_first(x):
    squares = x**3
    total = squares.sum(axis=-1, keepdims=True)
    return x / total


def wrong_second(x):
    squares = x**2
    total = squares.sum(axis=-1, keepdims=True) ** 1.5
    return x / total


def wrong_at_the_end(x):
    squares = x**2
    total = squares.sum(axis=-1, keepdims=True)
    return x / total**1.5


def other_shape(x):
    squares = (x**2).sum()
    return x / squares**1.5 + x**2


def other_names(x):
    return x / (x**2).sum(axis=-1, keepdims=True) ** 1.5


def not_a_number(x):
    squares = np.where(x == 1, np.nan, x**2)
    return x * (np.nansum(squares, axis=-1, keepdims=True)) ** 2


KNOWN = (
    "It is none of the mistakes known here. dx[0, 0]: got ",
    "不是我们收录的常见错误。dx[0, 0]：得到 ",
)
DIFFERS = (
    "expected 0.0714286. The first intermediate that differs from ours: ",
    "应为 0.0714286。第一个与参考实现不同的中间结果：",
)
COMPARE = (
    "Compare with ours, on the first case that is wrong: ",
    "请在第一个出错的用例上，与参考实现的中间结果对照：",
)
BOTH = "squares (2, 3) = [1, 4, 9, 4, ...]; total (2, 1) = [14, 5.25]"
STEPS = {
    wrong_first: (
        f"{DIFFERS[0]}squares differs by 2; ours begins [1, 4, 9, 4, ...].",
        f"{DIFFERS[1]}squares 相差 2；参考值的开头是 [1, 4, 9, 4, ...]。",
    ),
    wrong_second: (
        f"{DIFFERS[0]}total differs by 2.7; ours begins [14, 5.25].",
        f"{DIFFERS[1]}total 相差 2.7；参考值的开头是 [14, 5.25]。",
    ),
    not_a_number: (
        f"{DIFFERS[0]}squares: got NaN at index (0, 0), 2 in all, expected finite numbers; ours "
        "begins [1, 4, 9, 4, ...].",
        f"{DIFFERS[1]}squares：出现 NaN，第一个在 (0, 0)，共 2 个，应为有限的数；"
        "参考值的开头是 [1, 4, 9, 4, ...]。",
    ),
    wrong_at_the_end: (
        "expected 0.0714286. Your squares, total agrees with ours.",
        "应为 0.0714286。你的 squares, total 与参考实现一致。",
    ),
    other_shape: (
        f"expected 0.0714286. {COMPARE[0]}{BOTH}.",
        f"应为 0.0714286。{COMPARE[1]}{BOTH}。",
    ),
    other_names: (
        f"expected 0.0714286. {COMPARE[0]}{BOTH}.",
        f"应为 0.0714286。{COMPARE[1]}{BOTH}。",
    ),
}


@pytest.mark.parametrize("fn", STEPS, ids=lambda fn: fn.__name__)
def test_the_first_intermediate_that_differs_is_named(fn):
    trials = tried(chain, fn, [case.args for case in CHAIN.cases(None)])
    (said,) = first_wrong_step(CHAIN, trials)
    for text, known, rest in zip(said, KNOWN, STEPS[fn], strict=True):
        assert text.startswith(known)
        assert text.endswith(rest)


def test_the_first_wrong_entry_is_no_rounding():
    x = np.array([1e9, 1e9, 3.0])
    trials = tried(lambda x: x, lambda x: x + np.array([1e-6, 1e4, 0]), [{"x": x}])
    (said,) = first_wrong_step(exercise(lambda x: x, [{"x": x}]), trials)
    assert said.en == (
        "It is none of the mistakes known here. dx[1]: got 1.00001e+09, expected 1e+09."
    )
    assert said.zh == "不是我们收录的常见错误。dx[1]：得到 1.00001e+09，应为 1e+09。"


def test_a_number_that_is_wrong_is_shown():
    trials = tried(np.mean, lambda a: a.sum() + 1, [{"a": np.array([1.0, 2.0])}])
    (said,) = first_wrong_step(exercise(chain, []), trials)
    assert "dx: got 4, expected 1.5." in said.en
    assert "dx：得到 4，应为 1.5。" in said.zh


def test_no_step_is_shown_where_all_is_right():
    assert not first_wrong_step(CHAIN, tried(chain, chain, [c.args for c in CHAIN.cases(None)]))


EXCEPTIONS = {
    "a lost axis": (
        lambda x: x / x.sum(axis=-1),
        "two shapes do not meet: often a sum or mean has lost its axis, which "
        "`keepdims=True` keeps",
        "两个形状对不上：常见原因是求和或平均丢掉了轴，`keepdims=True` 可以保留它",
    ),
    "a product": (
        lambda x: x @ x,
        "the inner sizes of a matrix product differ: one of the two is to be transposed, or they "
        "are the wrong way round",
        "矩阵乘法的内侧维度不一致：其中一个需要转置，或者左右顺序反了",
    ),
    "a reshape": (
        lambda x: x.reshape(4, 4),
        "a reshape to another number of entries: which axes are to be merged or split?",
        "reshape 前后的元素个数不同：应该合并或拆分哪些轴？",
    ),
}


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_an_exception_gets_a_guess(name):
    fn, en, zh = EXCEPTIONS[name]
    assert check(CHAIN, fn).diagnoses == [Text(en, zh)]


def test_an_exception_that_says_enough_gets_none():
    report = check(CHAIN, lambda x: x.nothing)
    assert not report.passed
    assert report.diagnoses == []


LISTED = "dx, dgamma, dbeta"
RETURNED = {
    "a list": (
        lambda *three: list(three),
        f"got a list of 3, expected a tuple of 3: {LISTED}",
        f"返回了长度为 3 的列表，应返回 3 个结果的元组：{LISTED}",
    ),
    "a shorter list": (
        lambda *three: [three[0]],
        f"got a list of 1, expected a tuple of 3: {LISTED}",
        f"返回了长度为 1 的列表，应返回 3 个结果的元组：{LISTED}",
    ),
    "two": (
        lambda *three: three[:2],
        f"got 2 results, expected 3: {LISTED}",
        f"返回了 2 个结果，应为 3 个：{LISTED}",
    ),
    "one": (
        lambda *three: three[0],
        f"got one ndarray, expected 3 results: {LISTED}",
        f"只返回了一个 ndarray，应返回 3 个结果：{LISTED}",
    ),
    "nothing": (
        lambda *three: None,
        f"got None, expected {LISTED}: is there a return?",
        f"返回了 None，应返回 {LISTED}：是不是忘了 return？",
    ),
}


@pytest.mark.parametrize("name", RETURNED)
def test_several_results_are_a_tuple(name):
    pack, en, zh = RETURNED[name]
    report = check(
        find("layer-norm-backward"), lambda dy, xhat, rstd, gamma: pack(dy, gamma, gamma)
    )
    (result,) = report.results
    assert (result.name, result.passed, result.message) == (RETURNS, False, Text(en, zh))
