"""From one wide vector a token to one narrow vector a head, and back."""

from npformer import layers
from npformer.exercises.exercise import Case, Exercise


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


SPLIT_HEADS = Exercise(
    id="split-heads",
    title="Split and merge heads",
    statement=r"""
        Head $h$ owns the columns $hK$ to $(h+1)K$ of a token's D = H K features:

        $$\mathrm{heads}_{b,h,t,d} = x_{b,\,t,\,hK+d}, \qquad \mathrm{merged}_{b,\,t,\,hK+d} =
        \mathrm{ctx}_{b,h,t,d}$$

        `x` is (B, T, D), `ctx` is (B, H, T, K) and `num_heads` is H. Return `heads` (B, H, T, K),
        which is x split, and `merged` (B, T, D), which is ctx merged, in this order. Merging is the
        inverse of splitting; x and ctx are unrelated numbers.""",
    reference=split_and_merge,
    library=(layers.attention.split_heads, layers.attention.join_heads),
    outputs=("heads", "merged"),
    cases=split_and_merge_cases,
    hints=(
        """`reshape` never moves a number in memory: it can cut an axis in two or join two
        neighbours, not swap them.""",
        """Split: (B, T, D) is cut to (B, T, H, K), and then T and H are swapped. Merge: the same
        two steps backwards.""",
        """`heads = x.reshape(b, t, h, d // h).transpose(0, 2, 1, 3)` and `merged =
        ctx.transpose(0, 2, 1, 3).reshape(b, t, h * k)`.""",
    ),
    tracks=("interview", "class"),
    difficulty=1,
    minutes=5,
    docs="derivations/attention.md",
)


@SPLIT_HEADS.mistake("split-without-transpose")
def split_without_transpose(x, ctx, num_heads):
    """heads is a plain reshape to (B, H, T, K): it has the right shape, but a head gets pieces of
    different tokens. Cut to (B, T, H, K) and then swap T and H."""
    b, t, d = x.shape
    return x.reshape(b, num_heads, t, d // num_heads), _merge(ctx)


@SPLIT_HEADS.mistake("split-interleaved")
def split_interleaved(x, ctx, num_heads):
    """head h got every H-th column: D is cut as (K, H), expected (H, K), so that a head owns K
    neighbouring columns."""
    b, t, d = x.shape
    return x.reshape(b, t, d // num_heads, num_heads).transpose(0, 3, 1, 2), _merge(ctx)


@SPLIT_HEADS.mistake("batch-and-tokens-mixed")
def tokens_with_another_batch(x, ctx, num_heads):
    """batch and tokens are mixed up: the reshape must keep (B, T) in front as they are."""
    b, t, d = x.shape
    heads = x.reshape(t, b, num_heads, d // num_heads).transpose(1, 2, 0, 3)
    return heads, _merge(ctx)


@SPLIT_HEADS.mistake("merge-without-transpose")
def merge_without_transpose(x, ctx, num_heads):
    """merged is a plain reshape of ctx: a token gets the features of several tokens of one head.
    Swap H and T back before joining H and K."""
    b, h, t, k = ctx.shape
    return _split(x, num_heads), ctx.reshape(b, t, h * k)


@SPLIT_HEADS.mistake("merge-interleaved")
def merge_interleaved(x, ctx, num_heads):
    """the features of the heads alternate in merged: join (H, K), not (K, H)."""
    b, h, t, k = ctx.shape
    return _split(x, num_heads), ctx.transpose(0, 2, 3, 1).reshape(b, t, h * k)
