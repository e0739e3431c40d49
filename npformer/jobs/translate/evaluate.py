"""Translate texts, many at a time, and compare with the right ones."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from npformer.data.batches import pad
from npformer.data.vocabulary import decode_ids, encode_texts, sequence_ids
from npformer.models.generation import beam_search, greedy_search
from npformer.models.seq2seq import Seq2Seq
from npformer.train.parallel import one_blas_thread
from npformer.types import IntArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def translate(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    beams: int = 1,
    length_penalty: float = 1.0,
    max_new: int | None = None,
    batch_size: int = 128,
    threads: int = 2,
) -> list[str]:
    """Return the translation of each text: by greedy search, or by beam search with ``beams`` > 1.

    Parameters
    ----------
    model : Seq2Seq
    tokenizer : tokenizers.Tokenizer
    texts : sequence of str
    beams : int
    length_penalty : float
        As in `beam_search`.
    max_new : int, optional
        Tokens of a translation at most; default the model's max_len.
    batch_size : int
        Texts side by side, of near-equal length.
    threads : int
        Batches side by side; the result does not depend on it.

    Raises
    ------
    InputError
        If a text is empty or longer than the model's max_len.
    """
    special = sequence_ids(tokenizer)
    rows = encode_texts(tokenizer, texts, max_len=model.config.max_len, name="text")
    limit = max_new or model.config.max_len
    order = np.argsort([len(row) for row in rows], kind="stable")
    chunks = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]

    def run(indices: IntArray) -> list[tuple[int, ...]]:
        source, keep = pad([rows[i] for i in indices], special.pad)
        if beams == 1:
            return greedy_search(
                model, source, keep, start=special.start, end=special.end, max_new=limit
            )
        found = beam_search(
            model,
            source,
            keep,
            start=special.start,
            end=special.end,
            max_new=limit,
            num_beams=beams,
            length_penalty=length_penalty,
        )
        return [hypotheses[0].ids for hypotheses in found]

    results = [""] * len(texts)
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        for indices, found in zip(chunks, pool.map(run, chunks), strict=True):
            for i, ids in zip(indices, found, strict=True):
                results[i] = decode_ids(tokenizer, ids)
    return results


def exact_match(translations: Sequence[str], targets: Sequence[str]) -> float:
    """Return the share of translations that are the target, to the character."""
    return sum(a == b for a, b in zip(translations, targets, strict=True)) / len(targets)


def compare(translations: Sequence[str], targets: Sequence[str]) -> dict[str, float]:
    """Return exact match, and BLEU and chrF where ``sacrebleu`` is installed.

    BLEU counts words; of Chinese targets, characters (sacrebleu's tokenizer "zh"). Both are
    on sacrebleu's scale of 0 to 100, of the corpus.

    References
    ----------
    Papineni et al. 2002, "BLEU"; Popovic 2015, "chrF"; Post 2018, "A call for clarity in
    reporting BLEU scores".
    """
    measured = {"exact_match": exact_match(translations, targets)}
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        return measured
    letters = [c for text in targets for c in text if not c.isspace()]
    chinese = sum("\u3400" <= c <= "\u9fff" for c in letters) > len(letters) / 2
    bleu = BLEU(tokenize="zh" if chinese else "13a")
    measured["bleu"] = bleu.corpus_score(list(translations), [list(targets)]).score
    measured["chrf"] = CHRF().corpus_score(list(translations), [list(targets)]).score
    return measured
