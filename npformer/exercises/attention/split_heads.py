"""From one wide vector a token to one narrow vector a head, and back."""

from npformer import layers
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def split_and_merge(x, ctx, num_heads):
    """Return x split into heads, (B, H, T, K), and the heads of ctx merged, (B, T, D).

    x: (B, T, D); ctx: (B, H, T, K); num_heads: H, with D = H K.
    """
    return layers.attention.split_heads(x, num_heads), layers.attention.join_heads(ctx)


def split_and_merge_cases(rng):
    """Return several shapes, with one head, one token and heads of one feature too."""

    def case(b, h, t, k, part=""):
        x, ctx = rng.normal(size=(b, t, h * k)), rng.normal(size=(b, h, t, k))
        return Case({"x": x, "ctx": ctx, "num_heads": h}, part)

    return [
        case(2, 3, 5, 7),
        case(3, 5, 7, 2),
        case(2, 1, 5, 7, "one head"),
        case(2, 3, 1, 5, "one token"),
        case(2, 3, 5, 1, "one feature a head"),
    ]


def _split(x, num_heads):
    b, t, d = x.shape
    return x.reshape(b, t, num_heads, d // num_heads).transpose(0, 2, 1, 3)


def _merge(ctx):
    b, h, t, k = ctx.shape
    return ctx.transpose(0, 2, 1, 3).reshape(b, t, h * k)


def split_without_transpose(x, ctx, num_heads):
    b, t, d = x.shape
    return x.reshape(b, num_heads, t, d // num_heads), _merge(ctx)


def split_interleaved(x, ctx, num_heads):
    b, t, d = x.shape
    return x.reshape(b, t, d // num_heads, num_heads).transpose(0, 3, 1, 2), _merge(ctx)


def tokens_with_another_batch(x, ctx, num_heads):
    b, t, d = x.shape
    heads = x.reshape(t, b, num_heads, d // num_heads).transpose(1, 2, 0, 3)
    return heads, _merge(ctx)


def merge_without_transpose(x, ctx, num_heads):
    b, h, t, k = ctx.shape
    return _split(x, num_heads), ctx.reshape(b, t, h * k)


def merge_interleaved(x, ctx, num_heads):
    b, h, t, k = ctx.shape
    return _split(x, num_heads), ctx.transpose(0, 2, 3, 1).reshape(b, t, h * k)


SPLIT_HEADS = Exercise(
    id="split-heads",
    title=Text("Split and merge heads", "多头的拆分与合并"),
    statement=Text(
        "Head $h$ owns the columns $hK$ to $(h+1)K$ of a token's D = H K features:\n\n"
        "$$\\mathrm{heads}_{b,h,t,d} = x_{b,\\,t,\\,hK+d}, \\qquad "
        "\\mathrm{merged}_{b,\\,t,\\,hK+d} = \\mathrm{ctx}_{b,h,t,d}$$\n\n"
        "`x` is (B, T, D), `ctx` is (B, H, T, K) and `num_heads` is H. Return `heads` "
        "(B, H, T, K), which is x split, and `merged` (B, T, D), which is ctx merged, in this "
        "order. Merging is the inverse of splitting; x and ctx are unrelated numbers.",
        "第 $h$ 个头拥有每个词元的 D = H K 个特征中的第 $hK$ 到 $(h+1)K$ 列：\n\n"
        "$$\\mathrm{heads}_{b,h,t,d} = x_{b,\\,t,\\,hK+d}, \\qquad "
        "\\mathrm{merged}_{b,\\,t,\\,hK+d} = \\mathrm{ctx}_{b,h,t,d}$$\n\n"
        "`x` 的形状为 (B, T, D)，`ctx` 为 (B, H, T, K)，`num_heads` 即 H。依次返回 `heads` (B, H, T, K)（x "
        "拆分的结果）和 `merged` (B, T, D)（ctx 合并的结果）。合并是拆分的逆运算；x 与 ctx 的数值互不相关。",
    ),
    reference=split_and_merge,
    library=(layers.attention.split_heads, layers.attention.join_heads),
    outputs=("heads", "merged"),
    cases=split_and_merge_cases,
    hints=(
        Text(
            "`reshape` never moves a number in memory: it can cut an axis in two or join two "
            "neighbours, not swap them.",
            "`reshape` 不会移动内存中的数：它可以把一个轴切成两个，或把相邻的两个轴合成一个，但不能交换轴。",
        ),
        Text(
            "Split: (B, T, D) is cut to (B, T, H, K), and then T and H are swapped. Merge: the "
            "same two steps backwards.",
            "拆分：先把 (B, T, D) 切成 (B, T, H, K)，再交换 T 和 H。合并：把这两步倒过来。",
        ),
        Text(
            "`heads = x.reshape(b, t, h, d // h).transpose(0, 2, 1, 3)` and "
            "`merged = ctx.transpose(0, 2, 1, 3).reshape(b, t, h * k)`.",
            "`heads = x.reshape(b, t, h, d // h).transpose(0, 2, 1, 3)`，"
            "`merged = ctx.transpose(0, 2, 1, 3).reshape(b, t, h * k)`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "split-without-transpose",
            split_without_transpose,
            Text(
                "heads is a plain reshape to (B, H, T, K): it has the right shape, but a head gets "
                "pieces of different tokens. Cut to (B, T, H, K) and then swap T and H.",
                "heads 直接 reshape 成了 (B, H, T, K)：形状对，但每个头里混进了不同词元的片段。"
                "应当先切成 (B, T, H, K)，再交换 T 和 H。",
            ),
        ),
        Misconception(
            "split-interleaved",
            split_interleaved,
            Text(
                "head h got every H-th column: D is cut as (K, H), expected (H, K), so that a head "
                "owns K neighbouring columns.",
                "第 h 个头拿到的是按步长 H 抽取的列：D 被切成了 (K, H)，应当切成 (H, K)，使每个头拥有相邻的 K 列。",
            ),
        ),
        Misconception(
            "batch-and-tokens-mixed",
            tokens_with_another_batch,
            Text(
                "batch and tokens are mixed up: the reshape must keep (B, T) in front as they are.",
                "批次和词元混在一起了：reshape 时前面的 (B, T) 必须原样保留。",
            ),
        ),
        Misconception(
            "merge-without-transpose",
            merge_without_transpose,
            Text(
                "merged is a plain reshape of ctx: a token gets the features of several tokens of "
                "one head. Swap H and T back before joining H and K.",
                "merged 是对 ctx 直接 reshape：一个词元拿到了同一个头里多个词元的特征。"
                "要先把 H 和 T 换回来，再合并 H 与 K。",
            ),
        ),
        Misconception(
            "merge-interleaved",
            merge_interleaved,
            Text(
                "the features of the heads alternate in merged: join (H, K), not (K, H).",
                "merged 中各头的特征交替排列了：应当合并 (H, K)，而不是 (K, H)。",
            ),
        ),
    ),
    topic="attention",
    tracks=("interview", "class"),
    difficulty=1,
    minutes=5,
    docs="derivations/attention.md",
)

EXERCISES = (SPLIT_HEADS,)
