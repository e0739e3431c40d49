"""From a source or a prompt to what follows: greedy, beam search, sampling; with a KV cache."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from npformer.checks import InputError, check_fraction, check_positive, check_shape
from npformer.layers.config import check_sizes
from npformer.models.decoding import Decoding, GenerativeModel, begin
from npformer.ops.softmax import log_softmax_forward, softmax_forward
from npformer.types import BoolArray, FloatArray, IntArray


class Hypothesis(NamedTuple):
    """A generated target."""

    ids: tuple[int, ...]  # with the end token, if it came to one
    log_prob: float  # sum over the tokens, in nats
    score: float  # log_prob / len(ids)^length_penalty


def beam_search(
    model: GenerativeModel,
    source: IntArray,
    source_keep: BoolArray | None = None,
    *,
    start: int | None = None,
    end: int | None = None,
    max_new: int,
    num_beams: int = 4,
    length_penalty: float = 1.0,
) -> list[list[Hypothesis]]:
    r"""Search for the targets of highest normalised log-probability.

    .. math:: \mathrm{score}(y) = \frac{1}{|y|^{\alpha}} \sum_t \log p(y_t \mid y_{<t}, x)

    At each step every open hypothesis is continued with every token. Of the best 2N the first N
    that do not end stay open, those that end and are among the first N are finished. A
    sentence is done when no open hypothesis, even if it grew to ``max_new`` tokens without
    losing anything, could come before its N-th finished one.

    Parameters
    ----------
    model : Seq2Seq or CausalLM
    source : integer ndarray of shape (B, S)
        What an encoder-decoder encodes, or the prompts that a decoder-only model continues;
        prompts of one length are continued together.
    source_keep : boolean ndarray of shape (B, S), optional
        True = real token.
    start : int, optional
        The token before the first one: of an encoder-decoder only, which must have it.
    end : int, optional
        The token that ends a target; None means that none does.
    max_new : int
        Tokens of a target at most; a hypothesis that reaches it counts without an end.
    num_beams : int
        N; more than there are continuations is no error.
    length_penalty : float
        alpha, at least 0: 0 compares sums, which favours short targets, 1 means per token.

    Returns
    -------
    list of list of Hypothesis
        For each source up to N, the best first.

    Raises
    ------
    InputError
        If the target could become longer than the model's max_len, a token is outside the
        vocabulary, or a source or prompt is empty.

    References
    ----------
    Graves 2012, "Sequence transduction with recurrent neural networks"; the length
    normalisation is Hugging Face's. Deviations: Wu et al. 2016 divide by
    ((5 + length) / 6)^alpha.
    """
    check_sizes(num_beams=num_beams)
    if not 0 <= length_penalty < float("inf"):
        raise InputError(f"length_penalty: got {length_penalty}, expected a finite number >= 0")
    found: list[list[Hypothesis]] = [[] for _ in source]
    for indices, logits, state in begin(model, source, source_keep, start, end, max_new):
        results = _beams(model, logits, state, end, max_new, num_beams, length_penalty)
        for i, hypotheses in zip(indices, results, strict=True):
            found[i] = hypotheses
    return found


def _beams(
    model: GenerativeModel,
    logits: FloatArray,
    state: Decoding,
    end: int | None,
    max_new: int,
    num_beams: int,
    length_penalty: float,
) -> list[list[Hypothesis]]:
    """Search from the logits (B, V) of the first token."""
    finished: list[list[Hypothesis]] = [[] for _ in logits]
    # Every row of the batch is an open hypothesis: (its source, its tokens, their log-probability).
    rows: list[tuple[int, tuple[int, ...], float]] = [(b, (), 0.0) for b in range(len(logits))]
    for length in range(1, max_new + 1):
        log_probs, _ = log_softmax_forward(logits.astype(np.float64))  # (rows, V)
        kept: list[tuple[int, int, float]] = []  # row it continues, token, log-probability
        for b in sorted({source_index for source_index, _, _ in rows}):
            own = [r for r, row in enumerate(rows) if row[0] == b]
            totals = log_probs[own] + np.array([[rows[r][2]] for r in own])  # (open, V)
            order = np.argsort(-totals, axis=None, kind="stable")[: 2 * num_beams]
            opened = []
            for rank, flat in enumerate(order):
                i, token = divmod(int(flat), totals.shape[1])
                total = float(totals[i, token])
                if token != end and length < max_new:
                    opened.append((own[i], token, total))
                elif rank < num_beams:
                    ids = (*rows[own[i]][1], token)
                    finished[b].append(Hypothesis(ids, total, total / length**length_penalty))
            finished[b] = sorted(finished[b], key=lambda h: -h.score)[:num_beams]
            del opened[num_beams:]
            best = max((total for _, _, total in opened), default=-np.inf)
            enough = len(finished[b]) == num_beams
            if not (enough and best / max_new**length_penalty <= finished[b][-1].score):
                kept += opened
        if not kept:
            break
        rows = [(rows[r][0], (*rows[r][1], token), total) for r, token, total in kept]
        last = np.array([[token] for _, token, _ in kept])  # (rows, 1)
        logits, state = model.step(last, state.take(np.array([r for r, _, _ in kept])))
    return finished


def greedy_search(
    model: GenerativeModel,
    source: IntArray,
    source_keep: BoolArray | None = None,
    *,
    start: int | None = None,
    end: int | None = None,
    max_new: int,
) -> list[tuple[int, ...]]:
    """Take the most probable token at each step; arguments and result as in `sample`."""

    def choose(logits: FloatArray, indices: IntArray, step: int) -> IntArray:
        best: IntArray = logits.argmax(axis=-1)  # (n,)
        return best

    return _token_by_token(model, source, source_keep, start, end, max_new, choose)


def sample(
    model: GenerativeModel,
    source: IntArray,
    source_keep: BoolArray | None = None,
    *,
    start: int | None = None,
    end: int | None = None,
    max_new: int,
    rng: np.random.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
) -> list[tuple[int, ...]]:
    """Draw a target for each source, token by token, from `filtered_probs`.

    Parameters
    ----------
    model, source, source_keep, start, end, max_new
        As in `beam_search`.
    rng : numpy.random.Generator
        One number per source and step, drawn before the first: what is chosen for one source
        does not depend on how long the others get.
    temperature, top_k, top_p
        As in `filtered_probs`.

    Returns
    -------
    list of tuple of int
        With the end token, if it came to one.

    Raises
    ------
    InputError
        As in `beam_search` and `filtered_probs`.
    """

    check_sizes(max_new=max_new)
    numbers = rng.random((max_new, len(source)))

    def choose(logits: FloatArray, indices: IntArray, step: int) -> IntArray:
        probs = filtered_probs(logits, temperature=temperature, top_k=top_k, top_p=top_p)
        edges = probs.cumsum(axis=-1)  # (n, V)
        drawn = numbers[step, indices, None] * edges[:, -1:]  # (n, 1)
        first_beyond: IntArray = (edges <= drawn).sum(axis=-1)  # (n,)
        return first_beyond

    return _token_by_token(model, source, source_keep, start, end, max_new, choose)


def filtered_probs(
    logits: FloatArray, *, temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0
) -> FloatArray:
    r"""Return the probabilities to sample from, in float64.

    .. math:: p = \operatorname{softmax}(\mathrm{logits} / \tau)

    then all but the ``top_k`` most probable become zero, then all but the fewest whose sum
    (of what is left, made to sum to one) reaches ``top_p``; equals are kept in order of their id.

    Parameters
    ----------
    logits : ndarray of shape (B, V)
    temperature : float
        tau > 0: below 1 sharper, above 1 flatter.
    top_k : int, optional
    top_p : float
        In (0, 1].

    Returns
    -------
    probs : ndarray of shape (B, V)

    Raises
    ------
    InputError
        If an option is out of range.

    References
    ----------
    Fan et al. 2018, "Hierarchical neural story generation" (top-k); Holtzman et al. 2020, "The
    curious case of neural text degeneration" (top-p).
    """
    check_shape("logits", logits, ("B", "V"))
    check_positive("temperature", temperature)
    check_positive("top_p", top_p)
    check_fraction("top_p", top_p, below_one=False)
    if top_k is not None:
        check_sizes(top_k=top_k)
    probs, _ = softmax_forward(logits.astype(np.float64) / temperature)  # (B, V)
    order = np.argsort(-probs, axis=-1, kind="stable")
    ranked = np.take_along_axis(probs, order, axis=-1)
    if top_k is not None:
        ranked[:, top_k:] = 0
    ranked /= ranked.sum(axis=-1, keepdims=True)
    before = ranked.cumsum(axis=-1) - ranked  # the sum of the more probable ones
    ranked[before >= top_p] = 0
    ranked /= ranked.sum(axis=-1, keepdims=True)
    np.put_along_axis(probs, order, ranked, axis=-1)
    return probs


def _token_by_token(
    model: GenerativeModel,
    source: IntArray,
    source_keep: BoolArray | None,
    start: int | None,
    end: int | None,
    max_new: int,
    choose: Callable[[FloatArray, IntArray, int], IntArray],
) -> list[tuple[int, ...]]:
    """Choose until every target has ended or has max_new tokens.

    ``choose`` gets the logits (n, V), whose they are, and how many tokens came before.
    """
    targets: list[tuple[int, ...]] = [()] * len(source)
    for indices, logits, state in begin(model, source, source_keep, start, end, max_new):
        for step in range(max_new):
            last = choose(logits, indices, step)
            for i, token in zip(indices, last, strict=True):
                if not targets[i] or targets[i][-1] != end:
                    targets[i] = (*targets[i], int(token))
            if step == max_new - 1 or all(targets[i][-1] == end for i in indices):
                break
            logits, state = model.step(last[:, None], state)
    return targets
