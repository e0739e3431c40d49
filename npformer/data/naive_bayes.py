"""Naive Bayes over word counts: the floor that a model which reads word order should beat."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from npformer.checks import InputError
from npformer.types import IntArray

# English words without punctuation and accented letters; Chinese, Japanese and Korean characters.
WORD = re.compile(r"[a-z0-9']+|[\u3040-\u9fff\uac00-\ud7af]")


def naive_bayes_accuracy(
    train_texts: Sequence[str],
    train_labels: IntArray,
    eval_texts: Sequence[str],
    eval_labels: IntArray,
    *,
    order: int = 1,
) -> float:
    r"""Train a multinomial naive Bayes classifier with add-one smoothing and return its accuracy.

    .. math:: \hat c = \arg\max_c \log n_c + \sum_f \log \frac{n_{fc} + 1}{\sum_g (n_{gc} + 1)}

    with :math:`n_c` the texts of class c and :math:`n_{fc}` how often feature f occurs in them.

    Parameters
    ----------
    train_texts, eval_texts : sequence of str
    train_labels, eval_labels : ndarray of shape (N,)
        Integer classes.
    order : int
        Features are runs of 1 to ``order`` words, lower-cased, without punctuation; a
        Chinese character is a word. Features that training did not have are left out.

    Returns
    -------
    float
        The fraction of ``eval_texts`` whose class is right.
    """
    if not len(train_texts) or not len(eval_texts):
        raise InputError("texts: got an empty split, expected at least one text in each")
    classes = int(max(np.max(train_labels), np.max(eval_labels))) + 1
    counts = [Counter[str]() for _ in range(classes)]
    for text, label in zip(train_texts, train_labels, strict=True):
        counts[label].update(_features(text, order))
    vocabulary = {f: i for i, f in enumerate(dict.fromkeys(f for c in counts for f in c))}
    table = np.ones((len(vocabulary), classes))
    for c, counter in enumerate(counts):
        for feature, n in counter.items():
            table[vocabulary[feature], c] += n
    log_p = np.log(table / table.sum(axis=0))
    present = np.bincount(train_labels, minlength=classes)
    # A class that training never shows must not win; log(0) would warn.
    log_prior = np.where(present > 0, np.log(np.maximum(present, 1)), -np.inf)
    right = 0
    for text, label in zip(eval_texts, eval_labels, strict=True):
        known = [vocabulary[f] for f in _features(text, order) if f in vocabulary]
        right += int(np.argmax(log_prior + log_p[known].sum(axis=0)) == label)
    return right / len(eval_texts)


def _features(text: str, order: int) -> Iterator[str]:
    words = WORD.findall(text.lower())
    for n in range(1, order + 1):
        for start in range(len(words) - n + 1):
            yield " ".join(words[start : start + n])
