"""Predictions for a whole data set, and how long they take."""

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from npformer.checks import InputError
from npformer.data.batches import Batch, Encoded, collate
from npformer.models.heads import SequenceClassifier
from npformer.models.masked_lm import MaskedLM
from npformer.ops.losses import cross_entropy_forward
from npformer.train.metrics import accuracy, f1, matthews, pearson, spearman
from npformer.train.objective import masked_logits
from npformer.train.parallel import one_blas_thread
from npformer.types import FloatArray, IntArray

if TYPE_CHECKING:
    from collections.abc import Sequence


def predict_logits(
    model: SequenceClassifier,
    encoded: Encoded,
    pad_id: int,
    *,
    batch_size: int = 64,
    threads: int = 2,
    name: str | None = None,
) -> FloatArray:
    """Return the logits of every example, in the order of the examples.

    Parameters
    ----------
    model : SequenceClassifier
    encoded : Encoded
    pad_id : int
    batch_size : int
        Batches are of near-equal length, so that little is padded.
    threads : int
        Batches run side by side; the result does not depend on it.
    name : str, optional
        With it a progress bar is shown.

    Returns
    -------
    logits : ndarray of shape (N, C)

    Raises
    ------
    InputError
        If one is not finite: the weights are not, or training has diverged.
    """

    def run(batch: Batch) -> FloatArray:
        # Without a backward there is nothing to keep.
        output, _ = model.forward(batch.ids, batch.keep, batch.segments, recompute=True)
        assert output.logits is not None
        return output.logits

    logits = run_batches(run, encoded, pad_id, batch_size=batch_size, threads=threads, name=name)
    if not np.isfinite(logits).all():
        raise InputError("logits: got NaN or infinity, expected a model of finite weights")
    return logits


def run_batches(
    run: Callable[[Batch], FloatArray],
    encoded: Encoded,
    pad_id: int,
    *,
    batch_size: int,
    threads: int,
    name: str | None = None,
) -> FloatArray:
    """Return the rows that ``run`` gives of every example, in the order of the examples.

    Parameters
    ----------
    run : callable
        From a batch to an ndarray with a row for each of its examples.
    encoded : Encoded
        At least one example.
    pad_id, batch_size, threads
        As in `predict_logits`.
    name : str, optional
        With it a progress bar is shown.

    Returns
    -------
    rows : ndarray of shape (N, ...)
    """
    from tqdm import tqdm

    order = np.argsort(encoded.lengths, kind="stable")
    chunks = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]

    def run_chunk(indices: IntArray) -> FloatArray:
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at the rows
            return run(collate(encoded, indices, pad_id))

    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        bar = tqdm(
            pool.map(run_chunk, chunks),
            total=len(chunks),
            desc=name,
            disable=None if name else True,
        )
        parts = list(bar)
    rows = np.empty((len(encoded), *parts[0].shape[1:]), parts[0].dtype)
    for indices, part in zip(chunks, parts, strict=True):
        rows[indices] = part
    return rows


def score(logits: FloatArray, labels: Any, problem: str) -> dict[str, float]:
    """Return the usual measures: GLUE's accuracy, F1 and Matthews, or Pearson and Spearman."""
    if problem == "regression":
        return {
            "pearson": pearson(logits[:, 0], labels),
            "spearman": spearman(logits[:, 0], labels),
        }
    predicted, classes = logits.argmax(axis=-1), logits.shape[-1]
    return {
        "accuracy": accuracy(predicted, labels),
        "f1": f1(predicted, labels, num_classes=classes),
        "matthews": matthews(predicted, labels, num_classes=classes),
    }


def masked_scores(
    model: MaskedLM, batches: "Sequence[Batch]", *, threads: int = 2
) -> dict[str, float]:
    """Return how well the hidden tokens of masked batches are guessed.

    Parameters
    ----------
    model : MaskedLM
    batches : sequence of Batch
        With labels (B, T), of which at least one is not `IGNORE`.
    threads : int
        Batches run side by side; the result does not depend on it.

    Returns
    -------
    dict
        ``masked_accuracy``, the share guessed right, and ``masked_loss``, the mean
        cross-entropy, in nats.

    Raises
    ------
    InputError
        If there is no hidden token.
    """
    total = sum(batch.counts.targets for batch in batches)
    if not total:
        raise InputError("batches: got no hidden token, expected at least one")

    def run(batch: Batch) -> tuple[float, int]:
        logits, labels, _ = masked_logits(model, batch)  # (P, V), (P,)
        loss, _ = cross_entropy_forward(logits, labels, count=total)
        return loss, int((logits.argmax(axis=-1) == labels).sum())

    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(run, batches))
    right, losses = sum(hits for _, hits in parts), [loss for loss, _ in parts]
    return {"masked_accuracy": right / total, "masked_loss": math.fsum(losses)}


def time_calls(
    calls: "Mapping[str, Sequence[Callable[[], object]]]", *, rounds: int = 3
) -> dict[str, float]:
    """Return the milliseconds a call takes, the mean over the calls of each name.

    The names take turns, item by item, so that a noisy moment of the machine hits all of them. In
    its turn an item is called twice in a row: the first call finds the processor's caches full of
    what the other names left there, the second what it would find if it ran by itself. Of all
    times of an item, two in each of ``rounds``, the shortest counts.
    """
    best = {name: [float("inf")] * len(items) for name, items in calls.items()}
    for _ in range(rounds):
        for i in range(max(len(items) for items in calls.values())):
            for name, items in calls.items():
                for call in 2 * list(items[i : i + 1]):
                    start = time.perf_counter()
                    call()
                    best[name][i] = min(best[name][i], time.perf_counter() - start)
    return {name: 1000 * fmean(times) for name, times in best.items()}
