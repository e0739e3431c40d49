"""Masked language modelling: which tokens a model has to guess."""

import numpy as np

from npformer.checks import check_fraction, check_shape
from npformer.data.batches import IGNORE
from npformer.data.tokenizer import SpecialIds
from npformer.types import BoolArray, IntArray


def mask_tokens(
    ids: IntArray,
    keep: BoolArray,
    special: SpecialIds,
    rng: np.random.Generator,
    *,
    vocab_size: int,
    p_mask: float = 0.15,
    at_least_one: bool = False,
) -> tuple[IntArray, IntArray]:
    """Choose tokens to be guessed and hide most of them.

    Each kept token that is not special is chosen with probability ``p_mask``, independently. Of the
    chosen ones 80 % become [MASK], 10 % a random token that is not special, and 10 % stay: a model
    that is asked about unmasked tokens too cannot learn that they never matter.

    Parameters
    ----------
    ids : ndarray of shape (B, T)
    keep : ndarray of shape (B, T)
        True = real token.
    special : SpecialIds
    rng : numpy.random.Generator
    vocab_size : int
    p_mask : float
    at_least_one : bool
        Choose one token of each sequence that would have none. TinyBERT's released script does so
        even at ``p_mask=0``.

    Returns
    -------
    masked_ids : ndarray of shape (B, T)
    labels : ndarray of shape (B, T)
        The original ids where chosen, `IGNORE` elsewhere.

    References
    ----------
    Devlin et al. 2019, section 3.1. Deviations: each token is chosen independently, where BERT's
    code chooses 15 % of each sequence.
    """
    check_fraction("p_mask", p_mask, below_one=False)
    check_shape("keep", keep, ids.shape)
    can = keep & ~np.isin(ids, special)  # (B, T)
    draw = rng.random(ids.shape)
    chosen = can & (draw < p_mask)
    if at_least_one:
        lacking = np.flatnonzero(can.any(axis=1) & ~chosen.any(axis=1))
        smallest = np.where(can, draw, np.inf).argmin(axis=1)
        chosen[lacking, smallest[lacking]] = True
    how = rng.random(ids.shape)
    ordinary = np.setdiff1d(np.arange(vocab_size), special)
    # The candidates are drawn for all positions, so that the stream of numbers has one length.
    random_ids = ordinary[rng.integers(len(ordinary), size=ids.shape)]
    masked = np.where(chosen & (how < 0.8), special.mask, ids)
    masked = np.where(chosen & (how >= 0.9), random_ids, masked)
    return masked, np.where(chosen, ids, IGNORE)
