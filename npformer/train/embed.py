"""Sentence embeddings: the mean of an encoder's last states, of length one."""

import numpy as np

from npformer.checks import InputError
from npformer.data.batches import Batch, Encoded
from npformer.layers.output import last_hidden
from npformer.models.encoder import Encoder
from npformer.train.evaluate import run_batches
from npformer.types import BoolArray, FloatArray


def mean_pool(x: FloatArray, keep: BoolArray) -> FloatArray:
    r"""Return the mean over kept tokens, then scaled to length one.

    .. math:: \bar x_b = \frac{\sum_t \mathrm{keep}_{bt}\, x_{bt}}{\sum_t \mathrm{keep}_{bt}},
              \qquad y_b = \bar x_b / \lVert \bar x_b \rVert

    Parameters
    ----------
    x : ndarray of shape (B, T, D)
    keep : boolean ndarray of shape (B, T)
        True = real token. A row without one, or a mean of zero, gives zeros.

    Returns
    -------
    y : ndarray of shape (B, D)

    References
    ----------
    Reimers and Gurevych 2019, "Sentence-BERT", section 3 (the MEAN strategy). Deviations: none.
    """
    count = np.maximum(keep.sum(axis=1, keepdims=True), 1)  # (B, 1)
    mean = (keep[:, None, :] @ x)[:, 0] / count.astype(x.dtype)  # (B, D)
    length = np.sqrt((mean * mean).sum(axis=1, keepdims=True))  # (B, 1)
    y: FloatArray = mean / np.where(length > 0, length, 1)
    return y


def embed(
    encoder: Encoder,
    encoded: Encoded,
    pad_id: int,
    *,
    batch_size: int = 32,
    threads: int = 2,
    progress: bool = False,
) -> FloatArray:
    """Return the embedding of every example, in the order of the examples.

    Parameters
    ----------
    encoder : Encoder
    encoded : Encoded
    pad_id : int
    batch_size : int
        Batches are of near-equal length, so that little is padded, always on the right.
    threads : int
        Batches run side by side; the result does not depend on it.
    progress : bool
        Show a bar.

    Returns
    -------
    embeddings : ndarray of shape (N, D)
        Each of length one, so that a product of two is their cosine.

    Raises
    ------
    InputError
        If there is no example, or an embedding is not finite.
    """
    if not len(encoded):
        raise InputError("texts: got none, expected at least one")

    def run(batch: Batch) -> FloatArray:
        output, _ = encoder.forward(batch.ids, batch.keep, batch.segments, recompute=True)
        return mean_pool(last_hidden(output), batch.keep)

    rows = run_batches(
        run,
        encoded,
        pad_id,
        batch_size=batch_size,
        threads=threads,
        name="embed" if progress else None,
    )
    if not np.isfinite(rows).all():
        raise InputError("embeddings: got NaN or infinity, expected a model of finite weights")
    return rows
