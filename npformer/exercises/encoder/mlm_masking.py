"""Masked language modelling: which tokens a model has to guess."""

import copy

import numpy as np

from npformer.data.masking import mask_tokens
from npformer.exercises.exercise import Case, Exercise


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


def mlm_masking_steps(ids, keep, special, vocab_size, p_mask, rng):
    """Return what may be chosen, and what is; the generator is left as it was."""
    can = keep & ~np.isin(ids, special)
    return {"can": can, "chosen": can & (copy.deepcopy(rng).random(ids.shape) < p_mask)}


MLM_MASKING = Exercise(
    id="mlm-masking",
    title="Masking 80/10/10",
    statement="""
        BERT is trained to guess hidden tokens. Return `masked_ids`, what the model reads, and
        `labels`, what it is asked for; both (B, T), integers.

        - A token *can* be chosen if it is real (`keep` is True) and its id is none of the five in
          `special`, a tuple of the ids of [PAD], [UNK], [CLS], [SEP], [MASK] in this order, all
          different and below `vocab_size`. Each token that can be chosen is *chosen* with
          probability `p_mask` (BERT: 0.15), independently.
        - Of the chosen ones 80 % become [MASK], 10 % stay as they are, and 10 % become a random
          *ordinary* id: one of 0 to `vocab_size` - 1 that is not special.
        - `labels` is the original id where a token was chosen, changed or not, and -100 elsewhere.

        So that the result is determined, draw from the generator `rng` exactly three times, in this
        order, each time for **all** positions:

        1. `rng.random(ids.shape)`: chosen where it is below p_mask and the token can be;
        2. `rng.random(ids.shape)`: [MASK] below 0.8, unchanged from 0.8 to below 0.9, random from
          0.9;
        3. `rng.integers(n, size=ids.shape)`, with n ordinary ids: the index of the random id among
          the ordinary ids in increasing order.""",
    reference=mlm_masking,
    library=(mask_tokens,),
    outputs=("masked_ids", "labels"),
    cases=mlm_masking_cases,
    hints=(
        """Make boolean arrays: what can be chosen, what is chosen. Everything else is `np.where`,
        always from the original ids.""",
        """`can = keep & ~np.isin(ids, special)`; the ordinary ids are
        `np.setdiff1d(np.arange(vocab_size), special)`, already sorted.""",
        """`chosen = can & (rng.random(ids.shape) < p_mask)`, `how = rng.random(ids.shape)`,
        `random_ids = ordinary[rng.integers(len(ordinary), size=ids.shape)]`; then `np.where(chosen
        & (how < 0.8), special[-1], ids)`, a second `np.where` with `how >= 0.9`, and
        `np.where(chosen, ids, -100)`.""",
    ),
    tracks=("interview", "class"),
    difficulty=2,
    minutes=15,
    steps=mlm_masking_steps,
    float32=False,
    docs="deviations.md",
)


@MLM_MASKING.mistake("special-tokens-chosen")
def choosing_special_tokens(ids, keep, special, vocab_size, p_mask, rng):
    """special tokens are chosen too: exclude the ids in special, or the model has to guess [CLS]
    and [SEP]."""
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = keep & (choice < p_mask)
    return exchanged(ids, chosen, how, random_ids, special[-1]), np.where(chosen, ids, -100)


@MLM_MASKING.mistake("padding-chosen")
def choosing_padding(ids, keep, special, vocab_size, p_mask, rng):
    """positions are chosen where keep is False: they are no tokens, whatever id stands there."""
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = ~np.isin(ids, special) & (choice < p_mask)
    return exchanged(ids, chosen, how, random_ids, special[-1]), np.where(chosen, ids, -100)


@MLM_MASKING.mistake("always-mask")
def always_the_mask(ids, keep, special, vocab_size, p_mask, rng):
    """every chosen token becomes [MASK]: only 80 % do. The other 20 % are there because no text
    that the model will read later contains [MASK]."""
    choice, _, _ = draws(ids, special, vocab_size, rng)
    chosen = keep & ~np.isin(ids, special) & (choice < p_mask)
    return np.where(chosen, special[-1], ids), np.where(chosen, ids, -100)


@MLM_MASKING.mistake("labels-everywhere")
def labels_everywhere(ids, keep, special, vocab_size, p_mask, rng):
    """every position has a label: the loss is for the chosen tokens alone, so labels is -100
    elsewhere."""
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = keep & ~np.isin(ids, special) & (choice < p_mask)
    return exchanged(ids, chosen, how, random_ids, special[-1]), ids.copy()


@MLM_MASKING.mistake("labels-after-masking")
def labels_after_masking(ids, keep, special, vocab_size, p_mask, rng):
    """labels holds what stands in masked_ids, the answer [MASK] itself: it must be the original
    id."""
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = keep & ~np.isin(ids, special) & (choice < p_mask)
    masked = exchanged(ids, chosen, how, random_ids, special[-1])
    return masked, np.where(chosen, masked, -100)


@MLM_MASKING.mistake("labels-where-masked")
def labels_where_masked(ids, keep, special, vocab_size, p_mask, rng):
    """only tokens that became [MASK] have a label: the random and the unchanged ones were chosen
    too and must be guessed."""
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = keep & ~np.isin(ids, special) & (choice < p_mask)
    masked = exchanged(ids, chosen, how, random_ids, special[-1])
    return masked, np.where(chosen & (how < 0.8), ids, -100)


@MLM_MASKING.mistake("ignored-label-zero")
def labels_of_zero(ids, keep, special, vocab_size, p_mask, rng):
    """labels is 0 where nothing is asked, and 0 is an id like any other: -100 marks a position
    without a label."""
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = keep & ~np.isin(ids, special) & (choice < p_mask)
    return exchanged(ids, chosen, how, random_ids, special[-1]), np.where(chosen, ids, 0)


@MLM_MASKING.mistake("random-from-all-ids")
def random_ids_from_all(ids, keep, special, vocab_size, p_mask, rng):
    """random ids are drawn from the whole vocabulary: special tokens are not among the ordinary
    ids."""
    chosen = keep & ~np.isin(ids, special) & (rng.random(ids.shape) < p_mask)
    how = rng.random(ids.shape)
    random_ids = rng.integers(vocab_size, size=ids.shape)
    return exchanged(ids, chosen, how, random_ids, special[-1]), np.where(chosen, ids, -100)


@MLM_MASKING.mistake("random-and-kept-exchanged")
def random_and_kept_exchanged(ids, keep, special, vocab_size, p_mask, rng):
    """from 0.8 to 0.9 a token stays as it is, and from 0.9 it becomes random; here it is the other
    way round."""
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = keep & ~np.isin(ids, special) & (choice < p_mask)
    masked = np.where(chosen & (how < 0.8), special[-1], ids)
    masked = np.where(chosen & (how >= 0.8) & (how < 0.9), random_ids, masked)
    return masked, np.where(chosen, ids, -100)


@MLM_MASKING.mistake("nothing-kept")
def nothing_kept(ids, keep, special, vocab_size, p_mask, rng):
    """all that is not masked becomes random: half of these, 10 % of the chosen ones, must stay as
    they are."""
    choice, how, random_ids = draws(ids, special, vocab_size, rng)
    chosen = keep & ~np.isin(ids, special) & (choice < p_mask)
    masked = np.where(chosen & (how < 0.8), special[-1], ids)
    return np.where(chosen & (how >= 0.8), random_ids, masked), np.where(chosen, ids, -100)


@MLM_MASKING.mistake("draws-for-the-chosen")
def drawing_for_the_chosen(ids, keep, special, vocab_size, p_mask, rng):
    """the second and third draw are made for the chosen positions alone: draw for all positions,
    `size=ids.shape`, so that the stream of numbers does not depend on them."""
    chosen = keep & ~np.isin(ids, special) & (rng.random(ids.shape) < p_mask)
    how = np.zeros(ids.shape)
    how[chosen] = rng.random(chosen.sum())
    ordinary = np.setdiff1d(np.arange(vocab_size), special)
    random_ids = np.zeros_like(ids)
    random_ids[chosen] = ordinary[rng.integers(len(ordinary), size=chosen.sum())]
    return exchanged(ids, chosen, how, random_ids, special[-1]), np.where(chosen, ids, -100)
