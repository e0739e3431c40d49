"""Masked language modelling: which tokens a model has to guess."""

import copy

import numpy as np

from npformer.data.masking import mask_tokens
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def mlm_masking(ids, keep, special, vocab_size, p_mask, rng):
    """Return masked_ids and labels, both (B, T), integers.

    ids: (B, T), integers; keep: (B, T), True = real token; special: the ids of [PAD], [UNK],
    [CLS], [SEP], [MASK], in this order; p_mask: a number; rng: a numpy.random.Generator.
    """
    from npformer.data.masking import mask_tokens
    from npformer.data.tokenizer import SpecialIds

    return mask_tokens(ids, keep, SpecialIds(*special), rng, vocab_size=vocab_size, p_mask=p_mask)


def mlm_masking_cases(rng):
    """Return padded batches whose special tokens have any ids, each with its own generator.

    The checker hands a copy of the generator to every call, so that all draw the same numbers.
    """

    def case(batch, length, vocab_size, p_mask, part=""):
        special = tuple(int(i) for i in rng.permutation(vocab_size)[:5])
        pad, _, cls, sep, _ = special
        ordinary = np.setdiff1d(np.arange(vocab_size), special)
        ids = rng.choice(ordinary, size=(batch, length))
        lengths = rng.integers(3, length + 1, size=batch)
        lengths[0] = length
        keep = np.arange(length) < lengths[:, None]
        ids[:, 0] = cls
        ids[np.arange(batch), lengths - 1] = sep
        if part == "padding mask":  # what lies behind the end looks like tokens
            keep[-1] = False
        else:
            ids[~keep] = pad
        if part == "special tokens":
            ids[::2] = rng.choice(special, size=ids[::2].shape)
        args = {
            "ids": ids,
            "keep": keep,
            "special": special,
            "vocab_size": vocab_size,
            "p_mask": p_mask,
            "rng": np.random.default_rng(int(rng.integers(2**32))),
        }
        return Case(args, part)

    return [
        case(2, 5, 13, 0.5),
        case(5, 23, 31, 0.15),
        case(19, 53, 97, 0.15),
        case(7, 29, 41, 0.15, part="padding mask"),
        case(7, 29, 41, 0.3, part="special tokens"),
        case(5, 17, 23, 1.0, part="everything chosen"),
        case(3, 11, 17, 0.0, part="nothing chosen"),
    ]


def draws(ids, special, vocab_size, rng):
    """Return the three draws of the statement: two of numbers, one of ids."""
    choice, how = rng.random(ids.shape), rng.random(ids.shape)
    ordinary = np.setdiff1d(np.arange(vocab_size), special)
    return choice, how, ordinary[rng.integers(len(ordinary), size=ids.shape)]


def exchanged(ids, chosen, how, random_ids, mask_id):
    """Return the ids with 80 % of the chosen ones masked and 10 % random."""
    masked = np.where(chosen & (how < 0.8), mask_id, ids)
    return np.where(chosen & (how >= 0.9), random_ids, masked)


def choosing_special_tokens(ids, keep, special, vocab_size, p_mask, rng):
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = keep & (choice < p_mask)
    return exchanged(ids, chosen, how, random_ids, special[-1]), np.where(chosen, ids, -100)


def choosing_padding(ids, keep, special, vocab_size, p_mask, rng):
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = ~np.isin(ids, special) & (choice < p_mask)
    return exchanged(ids, chosen, how, random_ids, special[-1]), np.where(chosen, ids, -100)


def always_the_mask(ids, keep, special, vocab_size, p_mask, rng):
    choice, _, _ = draws(ids, special, vocab_size, rng)
    chosen = keep & ~np.isin(ids, special) & (choice < p_mask)
    return np.where(chosen, special[-1], ids), np.where(chosen, ids, -100)


def labels_everywhere(ids, keep, special, vocab_size, p_mask, rng):
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = keep & ~np.isin(ids, special) & (choice < p_mask)
    return exchanged(ids, chosen, how, random_ids, special[-1]), ids.copy()


def labels_after_masking(ids, keep, special, vocab_size, p_mask, rng):
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = keep & ~np.isin(ids, special) & (choice < p_mask)
    masked = exchanged(ids, chosen, how, random_ids, special[-1])
    return masked, np.where(chosen, masked, -100)


def labels_where_masked(ids, keep, special, vocab_size, p_mask, rng):
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = keep & ~np.isin(ids, special) & (choice < p_mask)
    masked = exchanged(ids, chosen, how, random_ids, special[-1])
    return masked, np.where(chosen & (how < 0.8), ids, -100)


def labels_of_zero(ids, keep, special, vocab_size, p_mask, rng):
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = keep & ~np.isin(ids, special) & (choice < p_mask)
    return exchanged(ids, chosen, how, random_ids, special[-1]), np.where(chosen, ids, 0)


def random_ids_from_all(ids, keep, special, vocab_size, p_mask, rng):
    chosen = keep & ~np.isin(ids, special) & (rng.random(ids.shape) < p_mask)
    how = rng.random(ids.shape)
    random_ids = rng.integers(vocab_size, size=ids.shape)
    return exchanged(ids, chosen, how, random_ids, special[-1]), np.where(chosen, ids, -100)


def random_and_kept_exchanged(ids, keep, special, vocab_size, p_mask, rng):
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = keep & ~np.isin(ids, special) & (choice < p_mask)
    masked = np.where(chosen & (how < 0.8), special[-1], ids)
    masked = np.where(chosen & (how >= 0.8) & (how < 0.9), random_ids, masked)
    return masked, np.where(chosen, ids, -100)


def nothing_kept(ids, keep, special, vocab_size, p_mask, rng):
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = keep & ~np.isin(ids, special) & (choice < p_mask)
    masked = np.where(chosen & (how < 0.8), special[-1], ids)
    return np.where(chosen & (how >= 0.8), random_ids, masked), np.where(chosen, ids, -100)


def drawing_for_the_chosen(ids, keep, special, vocab_size, p_mask, rng):
    chosen = keep & ~np.isin(ids, special) & (rng.random(ids.shape) < p_mask)
    how = np.zeros(ids.shape)
    how[chosen] = rng.random(chosen.sum())
    ordinary = np.setdiff1d(np.arange(vocab_size), special)
    random_ids = np.zeros_like(ids)
    random_ids[chosen] = ordinary[rng.integers(len(ordinary), size=chosen.sum())]
    return exchanged(ids, chosen, how, random_ids, special[-1]), np.where(chosen, ids, -100)


def mlm_masking_steps(ids, keep, special, vocab_size, p_mask, rng):
    """Return what may be chosen, and what is; the generator is left as it was."""
    can = keep & ~np.isin(ids, special)
    return {"can": can, "chosen": can & (copy.deepcopy(rng).random(ids.shape) < p_mask)}


MLM_MASKING = Exercise(
    id="mlm-masking",
    title=Text("Masking 80/10/10", "80/10/10 掩码"),
    statement=Text(
        "BERT is trained to guess hidden tokens. Return `masked_ids`, what the model reads, and "
        "`labels`, what it is asked for; both (B, T), integers.\n\n"
        "- A token *can* be chosen if it is real (`keep` is True) and its id is none of the five "
        "in `special`, a tuple of the ids of [PAD], [UNK], [CLS], [SEP], [MASK] in this order, all "
        "different and below `vocab_size`. Each token that can be chosen is *chosen* with probability `p_mask` (BERT: 0.15), independently.\n"
        "- Of the chosen ones 80 % become [MASK], 10 % stay as they are, and 10 % become a random "
        "*ordinary* id: one of 0 to `vocab_size` - 1 that is not special.\n"
        "- `labels` is the original id where a token was chosen, changed or not, and -100 "
        "elsewhere.\n\n"
        "So that the result is determined, draw from the generator `rng` exactly three times, in "
        "this order, each time for **all** positions:\n\n"
        "1. `rng.random(ids.shape)`: chosen where it is below p_mask and the token can be;\n"
        "2. `rng.random(ids.shape)`: [MASK] below 0.8, unchanged from 0.8 to below 0.9, random "
        "from 0.9;\n"
        "3. `rng.integers(n, size=ids.shape)`, with n ordinary ids: the index of the random id "
        "among the ordinary ids in increasing order.",
        "BERT 的训练目标是猜出被遮住的词元。返回 `masked_ids`（模型读到的）和 `labels`（要它猜的），"
        "都是 (B, T) 的整数。\n\n"
        "- *可选*的词元：是真实词元（`keep` 为 True），且 id 不在 `special` 的五个之中；`special` 是元组，依次为 "
        "[PAD]、[UNK]、[CLS]、[SEP]、[MASK] 的 id，互不相同且都小于 `vocab_size`。每个可选词元各自独立地以概率 `p_mask`（BERT 为 0.15）"
        "被*选中*。\n"
        "- 被选中的词元中，80% 变成 [MASK]，10% 保持不变，10% 变成随机的*普通* id："
        "0 到 `vocab_size` - 1 中不属于 special 的一个。\n"
        "- 词元被选中处（无论是否改变），`labels` 为原来的 id，其余为 -100。\n\n"
        "为使结果唯一，只从生成器 `rng` 抽取三次，按以下顺序，每次都为**所有**位置抽取：\n\n"
        "1. `rng.random(ids.shape)`：小于 p_mask 且可选，则被选中；\n"
        "2. `rng.random(ids.shape)`：小于 0.8 为 [MASK]，0.8 到 0.9（不含）不变，0.9 及以上为随机；\n"
        "3. `rng.integers(n, size=ids.shape)`，n 为普通 id 的个数：随机 id 在从小到大排列的普通 id 中的下标。",
    ),
    reference=mlm_masking,
    library=(mask_tokens,),
    outputs=("masked_ids", "labels"),
    cases=mlm_masking_cases,
    hints=(
        Text(
            "Make boolean arrays: what can be chosen, what is chosen. Everything else is "
            "`np.where`, always from the original ids.",
            "先构造布尔数组：哪些可选，哪些被选中。其余都用 `np.where`，并且始终从原来的 ids 出发。",
        ),
        Text(
            "`can = keep & ~np.isin(ids, special)`; the ordinary ids are "
            "`np.setdiff1d(np.arange(vocab_size), special)`, already sorted.",
            "`can = keep & ~np.isin(ids, special)`；普通 id 是 "
            "`np.setdiff1d(np.arange(vocab_size), special)`，已经排好序。",
        ),
        Text(
            "`chosen = can & (rng.random(ids.shape) < p_mask)`, `how = rng.random(ids.shape)`, "
            "`random_ids = ordinary[rng.integers(len(ordinary), size=ids.shape)]`; then "
            "`np.where(chosen & (how < 0.8), special[-1], ids)`, a second `np.where` with "
            "`how >= 0.9`, and `np.where(chosen, ids, -100)`.",
            "`chosen = can & (rng.random(ids.shape) < p_mask)`，`how = rng.random(ids.shape)`，"
            "`random_ids = ordinary[rng.integers(len(ordinary), size=ids.shape)]`；然后 "
            "`np.where(chosen & (how < 0.8), special[-1], ids)`，再用 `how >= 0.9` 做一次 `np.where`，"
            "最后 `np.where(chosen, ids, -100)`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "special-tokens-chosen",
            choosing_special_tokens,
            Text(
                "special tokens are chosen too: exclude the ids in special, or the model has to "
                "guess [CLS] and [SEP].",
                "特殊词元也会被选中：要排除 special 中的 id，否则模型还得去猜 [CLS] 和 [SEP]。",
            ),
        ),
        Misconception(
            "padding-chosen",
            choosing_padding,
            Text(
                "positions are chosen where keep is False: they are no tokens, whatever id stands "
                "there.",
                "选中了 keep 为 False 的位置：无论那里写着什么 id，都不是词元。",
            ),
        ),
        Misconception(
            "always-mask",
            always_the_mask,
            Text(
                "every chosen token becomes [MASK]: only 80 % do. The other 20 % are there because "
                "no text that the model will read later contains [MASK].",
                "选中的词元全变成了 [MASK]：应当只有 80%。另外 20% 不换成 [MASK]，是因为模型以后读到的文本里没有 [MASK]。",
            ),
        ),
        Misconception(
            "labels-everywhere",
            labels_everywhere,
            Text(
                "every position has a label: the loss is for the chosen tokens alone, so labels is "
                "-100 elsewhere.",
                "每个位置都有标签：损失只针对被选中的词元，其余位置应为 -100。",
            ),
        ),
        Misconception(
            "labels-after-masking",
            labels_after_masking,
            Text(
                "labels holds what stands in masked_ids, the answer [MASK] itself: it must be the "
                "original id.",
                "labels 里是 masked_ids 的内容（答案成了 [MASK] 本身）：应为原来的 id。",
            ),
        ),
        Misconception(
            "labels-where-masked",
            labels_where_masked,
            Text(
                "only tokens that became [MASK] have a label: the random and the unchanged ones "
                "were chosen too and must be guessed.",
                "只有变成 [MASK] 的词元有标签：变成随机 id 的和保持不变的也被选中了，同样要猜。",
            ),
        ),
        Misconception(
            "ignored-label-zero",
            labels_of_zero,
            Text(
                "labels is 0 where nothing is asked, and 0 is an id like any other: -100 marks a "
                "position without a label.",
                "不需要猜的位置标签为 0，而 0 也是一个普通的 id：没有标签的位置应为 -100。",
            ),
        ),
        Misconception(
            "random-from-all-ids",
            random_ids_from_all,
            Text(
                "random ids are drawn from the whole vocabulary: special tokens are not among the "
                "ordinary ids.",
                "随机 id 是从整个词表抽的：普通 id 中不包括特殊词元。",
            ),
        ),
        Misconception(
            "random-and-kept-exchanged",
            random_and_kept_exchanged,
            Text(
                "from 0.8 to 0.9 a token stays as it is, and from 0.9 it becomes random; here it "
                "is the other way round.",
                "0.8 到 0.9 应保持不变，0.9 及以上变成随机 id；这里正好反了。",
            ),
        ),
        Misconception(
            "nothing-kept",
            nothing_kept,
            Text(
                "all that is not masked becomes random: half of these, 10 % of the chosen ones, "
                "must stay as they are.",
                "没有变成 [MASK] 的全成了随机 id：其中一半，即被选中词元的 10%，应保持不变。",
            ),
        ),
        Misconception(
            "draws-for-the-chosen",
            drawing_for_the_chosen,
            Text(
                "the second and third draw are made for the chosen positions alone: draw for all "
                "positions, `size=ids.shape`, so that the stream of numbers does not depend on them.",
                "第二、三次只为被选中的位置抽取：应为所有位置抽取（`size=ids.shape`），"
                "这样随机数的用量与选中了谁无关。",
            ),
        ),
    ),
    topic="encoder",
    tracks=("interview", "class"),
    difficulty=2,
    minutes=15,
    steps=mlm_masking_steps,
    float32=False,
    docs="deviations.md",
)

EXERCISES = (MLM_MASKING,)
