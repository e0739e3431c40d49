"""What a model holds in memory, in bytes of float32.

What a forward keeps is not written down a second time. The forward itself is asked, on a batch of
no sequences: an array of shape (0, T, D) takes no memory and says all of its shape. So whatever a
layer, or a scheme of relative positions, keeps for its backward is on the bill.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from npformer.checks import InputError
from npformer.layers.shapes import sizes
from npformer.models.causal_lm import CausalLM
from npformer.models.cost import PARTS, Workload, count_parameters, of_layers
from npformer.models.encoder import Encoder
from npformer.models.masked_lm import MaskedLM
from npformer.models.seq2seq import Seq2Seq

FLOAT = 4  # bytes of a float32
# A longer sequence is asked about with one of about this length, so that its masks stay small.
LONGEST = 2048
# A bias of all heads for one sequence is made; and no array of NumPy's has more numbers.
MOST_SCORES, MOST_NUMBERS = 2**30, 2**60
# Fields of attention's caches that its maps have made; all others belong to scores and mix.
MAPPED = ("q", "scaled_q", "k", "v")
DEPTHS = ("num_layers", "num_encoder_layers", "num_decoder_layers")


class Memory(NamedTuple):
    """Bytes."""

    parameters: int  # on disk too, without the names of the arrays
    gradients: int
    optimizer: int  # Adam's two running means
    kept: int  # what a forward leaves for its backward, its outputs included
    recomputed: int  # the same with recompute=True: what enters each layer, one layer's arrays
    prediction: int  # activations at the peak of a forward that keeps nothing
    key_values: int  # the KV cache after T tokens, of a model that generates

    @property
    def training(self) -> int:
        """What a training step holds at least; backward's own arrays come on top.

        They are about as many as one layer keeps, and further shards have gradients of their own.
        """
        return self.parameters + self.gradients + self.optimizer + self.kept

    @property
    def training_recomputed(self) -> int:
        """The same with recompute=True."""
        return self.training - self.kept + self.recomputed


def count_memory(work: Workload) -> Memory:
    """Return what a model needs."""
    parameters = FLOAT * sum(count_parameters(work).values())
    left = sum(count_kept(work, recompute=True).values())
    again = max(sum(layer.values()) for layer in _a_layer(work).values())
    return Memory(
        parameters=parameters,
        gradients=parameters,
        optimizer=2 * parameters,
        kept=sum(count_kept(work).values()),
        recomputed=left + again,
        prediction=_prediction(work),
        key_values=_key_values(work),
    )


def count_kept(work: Workload, *, recompute: bool = False, dropout: bool = True) -> dict[str, int]:
    """Return what each part keeps for backward; the names are those of `PARTS`, in order.

    A cache keeps no copies, so each array counts once, with the part that made it. It grows with
    B T, but for the probabilities of attention, which grow with B T^2, until attention goes block
    by block.
    """
    one, two = (_ask(work, depth, recompute=recompute, dropout=dropout) for depth in (1, 2))
    kept = {}
    for part in PARTS:
        depth, _ = work.stacks.get(part.partition(":")[0], (1, 0))
        kept[part] = one[part] + (depth - 1) * (two[part] - one[part])  # each layer more is alike
    if work.pooler:
        kept["pooler"] = FLOAT * work.batch_size * work.config.d_model
    return kept


def _a_layer(work: Workload, *, dropout: bool = True) -> dict[str, dict[str, int]]:
    """Return what each part of one layer keeps, for each stack."""
    one, two = (_ask(work, depth, recompute=False, dropout=dropout) for depth in (1, 2))
    return {
        stack: {part: two[part] - one[part] for part in PARTS if part.startswith(stack)}
        for stack in work.stacks
    }


def _ask(work: Workload, depth: int, *, recompute: bool, dropout: bool) -> Counter[str]:
    """Return what a model of so many layers keeps, part by part: run it on no sequence at all."""
    taken = {axis.size for axes in work.shapes.values() for axis in axes}
    target = _stand_in(work.seq_len, taken)
    source = target if work.source == work.seq_len else _stand_in(work.source, taken | {target})
    heads = work.config.num_heads
    if heads * max(target, source) ** 2 > MOST_SCORES:
        raise InputError(
            f"num_heads: got {heads}, expected at most {MOST_SCORES // max(target, source) ** 2} "
            f"with {max(target, source)} tokens"
        )
    largest = max(math.prod(sizes(axes)) for axes in work.shapes.values())
    if largest > MOST_NUMBERS:
        raise InputError(f"config: got an array of {largest} numbers, expected fewer than 2^60")
    depths = {name: depth for name in DEPTHS if hasattr(work.config, name)}
    config = replace(work.config, max_len=max(target, source), **depths)
    nothing = np.float32(0)
    params = {n: np.broadcast_to(nothing, sizes(a)) for n, a in work.kind.shapes(config).items()}
    lengths = (source, target) if work.kind is Seq2Seq else (target,)
    everything = work.kind(config, params).forward(
        *(np.zeros((0, length), int) for length in lengths),
        rng=np.random.default_rng(0) if dropout else None,
        recompute=recompute,
    )
    meant = {0: work.batch_size, target: work.seq_len, source: work.source}
    found: dict[tuple[int, bool], tuple[str, int]] = {}
    for path, array in (*_arrays(everything[0]), *_arrays(everything[1])):
        # A view keeps the whole array; the one of the two that has not lost its axes says how much.
        views = [array]
        while isinstance(views[-1].base, np.ndarray):
            views.append(views[-1].base)
        if views[-1].ndim:  # else it is a parameter
            size = max(math.prod(meant.get(n, n) for n in a.shape) * a.itemsize for a in views)
            # Heads are joined by a copy, which of no sequence is a view.
            key = id(views[-1]), path[-2:] == ("o", "x")
            part, before = found.get(key, (_made_by(path, work), 0))
            found[key] = part, max(size, before)
    kept: Counter[str] = Counter()
    for part, size in found.values():
        kept[part] += size
    return kept


def _stand_in(length: int, taken: Collection[int]) -> int:
    """Return the length to ask with: a long one would make large masks."""
    if length <= LONGEST:
        return length
    return next(n for n in count(LONGEST + 1) if n not in taken)


def _arrays(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every array in nested tuples, and the fields that lead to it."""
    if isinstance(value, np.ndarray):
        yield path, value
    elif isinstance(value, tuple):
        names = getattr(value, "_fields", range(len(value)))
        for name, item in zip(names, value, strict=True):
            yield from _arrays(item, (*path, str(name)))


def _made_by(path: tuple[str, ...], work: Workload) -> str:
    """Return the part that has made an array, from the fields that lead to it."""
    stack, tables = "layers", "embeddings"
    if work.kind is Seq2Seq:
        stack = "encoder" if {"encode", "encoder"} & {*path} else "decoder"
        config = work.config
        tables = config.source_tables if stack == "encoder" else config.target_tables
    normed = hasattr(work.config, "table_width")
    if path[-2:] == ("hidden", "0"):
        narrow = normed and work.config.embedding_size is not None
        return f"{tables}: {'projection' if narrow else 'norm' if normed else 'token'}"
    if "embeddings" in path:
        name = path[path.index("embeddings") + 1]
        if name in ("norm", "dropout", "projection"):
            name = "norm" if normed else "token"
        return f"{tables}: {name}"
    # An encoder's cache is that of its stack; other models have theirs among the fields.
    if work.kind is Encoder or {"stack", "encoder", "encode", "hidden"} & {*path}:
        return f"{stack}: {_of_stack(path)}"
    if work.kind is MaskedLM:
        return "head: output" if path == ("logits",) else "head: transform"
    if work.kind in (CausalLM, Seq2Seq):
        return "output"
    return "pooler" if path[0] in ("pooler", "tanh", "relu") else "classifier"


def _of_stack(path: tuple[str, ...]) -> str:
    if {"shared", "turn", "bias"} & {*path}:
        return "positions"
    if "attend" in path:
        return "projections" if path[-1] in MAPPED else "scores and mix"
    if path[-2:] == ("o", "x"):
        return "projections"
    if "feedforward" in path and "hidden" not in path:
        return "feed-forward"
    return "norms"  # also what enters a map: a norm gave it, or the residual path


def _prediction(work: Workload) -> int:
    """Return the peak of activations without dropout and with recompute=True.

    The hidden states stay, for they are an output. The peak is in the last layer of a stack or,
    where there are many logits, in the head.
    """
    kept, layers = count_kept(work, dropout=False), _a_layer(work, dropout=False)
    tables = ("embeddings: ", "source: ", "target: ")
    held = embeddings = sum(size for part, size in kept.items() if part.startswith(tables))
    peak = 0
    for stack, (depth, length) in work.stacks.items():
        wide = FLOAT * work.batch_size * length * work.config.d_model  # an array (B, T, D)
        inner = FLOAT * work.batch_size * length * work.config.d_ff  # an array (B, T, F)
        a_layer = sum(layers[stack].values())
        # Beside the sum, the centred sum and its square: what cross-attention gave and, in
        # pre-LN, the two sums on the residual path, of which a norm keeps none.
        more = 0 if stack != "decoder" else 3 if work.config.norm_first else 1
        last_layer = max(
            # The end of attention: q, c q, k, v, the context; scores, probabilities.
            5 * wide + 2 * layers[stack][f"{stack}: scores and mix"],
            # The end of feed-forward: a relu does not keep its input.
            a_layer + (inner if work.config.activation == "relu" else 0),
            # The last norm.
            a_layer + (3 + more) * wide,
        )
        peak = max(peak, held + (depth - 1) * wide + last_layer)
        held += depth * wide
    head = sum(kept.values()) - embeddings - of_layers(kept)
    if work.kind is MaskedLM:  # what its activation gave
        head += FLOAT * work.tokens * work.config.table_width
    return max(peak, held + head)


def _key_values(work: Workload) -> int:
    """Return the bytes of keys and values of all tokens so far, and of the source's."""
    if work.kind not in (CausalLM, Seq2Seq):
        return 0
    config, (depth, length) = work.config, list(work.stacks.values())[-1]
    seen = work.batch_size * (length + (work.source if work.kind is Seq2Seq else 0))
    key_size = config.head_size if config.attention == "softmax" else 1
    width: int = config.kv_heads * (key_size + config.head_size)
    return FLOAT * depth * seen * width
