"""From a source to a target, token by token: greedy, beam search, sampling; with a KV cache."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from npformer.checks import InputError, check_fraction, check_ids, check_positive, check_shape
from npformer.layers.config import check_sizes
from npformer.layers.decoder_block import KeyValues
from npformer.models.seq2seq import Seq2Seq
from npformer.ops.softmax import log_softmax_forward, softmax_forward
from npformer.types import BoolArray, FloatArray, IntArray


class Decoding(NamedTuple):
    """Where decoding stands: the KV caches of all layers."""

    layers: tuple[KeyValues, ...]
    memory_keep: BoolArray | None  # (B, 1, 1, S)
    length: int  # tokens of the target so far

    def take(self, rows: IntArray) -> "Decoding":
        """Return the state of these rows, in this order; a row may come more than once."""
        keep = None if self.memory_keep is None else self.memory_keep[rows]
        layers = tuple(KeyValues(*(a[rows] for a in layer)) for layer in self.layers)
        return Decoding(layers, keep, self.length)


def start_decoding(
    model: Seq2Seq, source: IntArray, source_keep: BoolArray | None = None
) -> Decoding:
    """Encode sources (B, S) once and for all; see `Seq2Seq.encode`."""
    memory, _ = model.encode(source, source_keep)
    layers = tuple(
        model.decoder_block(i).start(memory) for i in range(model.config.num_decoder_layers)
    )
    keep = None if source_keep is None else source_keep[:, None, None, :]  # (B, 1, 1, S)
    return Decoding(layers, keep, 0)


def decode_step(model: Seq2Seq, ids: IntArray, state: Decoding) -> tuple[FloatArray, Decoding]:
    """Give the decoder one more token for each target.

    What `Seq2Seq.decode` computes for its last position, with one token's work: the keys and
    values of the tokens before come from the state.

    Parameters
    ----------
    model : Seq2Seq
    ids : integer ndarray of shape (B,)
    state : Decoding

    Returns
    -------
    logits : ndarray of shape (B, V)
        Of the token after.
    state : Decoding
        With this token; the one given is left as it was.

    Raises
    ------
    InputError
        If the target has max_len tokens already or an id is outside the vocabulary.
    """
    x = model.target_embeddings.at(ids, state.length)  # (B, 1, D)
    shared, _ = model.shared_positions("decoder", 1, state.length + 1, state.length)
    layers = []
    for i, past in enumerate(state.layers):
        x, new = model.decoder_block(i).step(x, past, state.memory_keep, shared)
        layers.append(new)
    h, _ = model.final_norm("decoder", x)
    logits, _ = model.predict(h[:, 0])  # (B, V)
    return logits, Decoding(tuple(layers), state.memory_keep, state.length + 1)


class Hypothesis(NamedTuple):
    """A generated target."""

    ids: tuple[int, ...]  # with the end token, if it came to one
    log_prob: float  # sum over the tokens, in nats
    score: float  # log_prob / len(ids)^length_penalty


def beam_search(
    model: Seq2Seq,
    source: IntArray,
    source_keep: BoolArray | None = None,
    *,
    start: int,
    end: int,
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
    model : Seq2Seq
    source : integer ndarray of shape (B, S)
    source_keep : boolean ndarray of shape (B, S), optional
    start, end : int
        The token before the first one, and the one that ends a target.
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
        If max_new exceeds the model's max_len, a token is outside the vocabulary, or a source
        is empty.

    References
    ----------
    Graves 2012, "Sequence transduction with recurrent neural networks"; the length
    normalisation is Hugging Face's. Deviations: Wu et al. 2016 divide by
    ((5 + length) / 6)^alpha.
    """
    _check_generation(model, start, end, max_new)
    check_sizes(num_beams=num_beams)
    if not 0 <= length_penalty < float("inf"):
        raise InputError(f"length_penalty: got {length_penalty}, expected a finite number >= 0")
    state = start_decoding(model, source, source_keep)
    finished: list[list[Hypothesis]] = [[] for _ in source]
    # Every row of the batch is an open hypothesis: (its source, its tokens, their log-probability).
    rows: list[tuple[int, tuple[int, ...], float]] = [(b, (), 0.0) for b in range(len(source))]
    last = np.full(len(source), start)
    for length in range(1, max_new + 1):
        if not rows:
            break
        logits, state = decode_step(model, last, state)
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
        state = state.take(np.array([r for r, _, _ in kept], int))
        rows = [(rows[r][0], (*rows[r][1], token), total) for r, token, total in kept]
        last = np.array([token for _, token, _ in kept], int)
    return finished


def greedy_search(
    model: Seq2Seq,
    source: IntArray,
    source_keep: BoolArray | None = None,
    *,
    start: int,
    end: int,
    max_new: int,
) -> list[tuple[int, ...]]:
    """Take the most probable token at each step; arguments and result as in `sample`."""

    def choose(logits: FloatArray) -> IntArray:
        best: IntArray = logits.argmax(axis=-1)  # (B,)
        return best

    return _token_by_token(model, source, source_keep, start, end, max_new, choose)


def sample(
    model: Seq2Seq,
    source: IntArray,
    source_keep: BoolArray | None = None,
    *,
    start: int,
    end: int,
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
        One number a source and step, also for those that have ended: what is drawn for one
        source does not depend on how long the others get.
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

    def choose(logits: FloatArray) -> IntArray:
        probs = filtered_probs(logits, temperature=temperature, top_k=top_k, top_p=top_p)
        edges = probs.cumsum(axis=-1)  # (B, V)
        drawn = rng.random((len(logits), 1)) * edges[:, -1:]
        first_beyond: IntArray = (edges <= drawn).sum(axis=-1)  # (B,)
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
    model: Seq2Seq,
    source: IntArray,
    source_keep: BoolArray | None,
    start: int,
    end: int,
    max_new: int,
    choose: Callable[[FloatArray], IntArray],
) -> list[tuple[int, ...]]:
    """Choose from the logits (B, V) until every target has ended or has max_new tokens."""
    _check_generation(model, start, end, max_new)
    state = start_decoding(model, source, source_keep)
    last = np.full(len(source), start)
    targets: list[tuple[int, ...]] = [()] * len(source)
    for _ in range(max_new):
        logits, state = decode_step(model, last, state)
        last = choose(logits)
        targets = [
            ids if ids[-1:] == (end,) else (*ids, int(token))
            for ids, token in zip(targets, last, strict=True)
        ]
        if all(ids[-1] == end for ids in targets):
            break
    return targets


def _check_generation(model: Seq2Seq, start: int, end: int, max_new: int) -> None:
    check_sizes(max_new=max_new)
    config = model.config
    if max_new > config.max_len:
        raise InputError(f"max_new: got {max_new}, expected at most max_len = {config.max_len}")
    check_ids("start, end", np.array([start, end]), config.target_vocab_size)
