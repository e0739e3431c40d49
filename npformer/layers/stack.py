"""A stack: L blocks one on the other and, with pre-LN, a norm at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypedDict

import numpy as np
from numpy.random import SeedSequence
from numpy.typing import DTypeLike

from npformer.checks import InputError
from npformer.layers.block import BlockConfig, BlockOutput, EncoderBlock
from npformer.layers.decoder_block import DecoderBlock
from npformer.layers.masks import causal_keep, expand_keep, unless_all
from npformer.layers.norm import Norm, NormCache
from npformer.layers.relative import SCHEMES, Scheme
from npformer.layers.seeds import generator_of
from npformer.layers.shapes import Shapes, draw
from npformer.types import BoolArray, FloatArray, Params, part, prefixed

Maybe = FloatArray | None
Each = tuple[Maybe, ...]


class StackOptions(TypedDict, total=False):
    """What may be asked of `Stack.forward`, and so of every model's; all are off by default."""

    output_scores: bool  # keep the attention scores of every layer
    output_values: bool  # and the values
    recompute: bool  # keep only what enters each block; backward runs the block's forward again


class StackOutput(NamedTuple):
    """What a stack gives; as a cotangent, a field or an entry is None where silent."""

    hidden: Each | None = None  # L + 1 times (B, T, D); 0: what came in
    scores: Each | None = None  # L times (B, H, T, T) of self-attention, before the mask
    values: Each | None = None  # L times (B, G, T, K) of self-attention
    cross_scores: Each | None = None  # L times (B, H, T, S) of decoder blocks
    past: tuple[Any, ...] | None = None  # L KV caches with these tokens; has no cotangent


class BlockInputs(NamedTuple):
    """What it takes to run a block's forward again: kept in the place of its cache."""

    x: FloatArray  # (B, T, D)
    others: tuple[Any, ...]  # the memory, the masks, what the layers share
    seed: SeedSequence | None  # of the dropout masks; each run makes a generator of its own
    options: dict[str, Any]


class StackCache(NamedTuple):
    """What `Stack.backward` needs."""

    shared: Any  # of the scheme's `shared_forward`
    blocks: tuple[Any, ...]  # L times the block's cache, or BlockInputs
    norm: NormCache | None  # the final norm of pre-LN
    last: FloatArray  # (B, T, D) hidden[L]


@dataclass(frozen=True)
class Stack:
    r"""L blocks, open to gradients at every hidden state, score and value.

    .. math:: h_l = \operatorname{block}_l(h_{l-1})

    and with ``norm_first`` a final norm, after which h_L is taken.

    Parameters
    ----------
    config : BlockConfig
    params : dict
        ``layers.0.*`` ... ``layers.{L-1}.*``, what the scheme of relative positions has once,
        and with ``norm_first`` ``norm.*``.
    num_layers : int
    block : class
        `EncoderBlock`, or `DecoderBlock`, which also looks at a memory.
    causal : bool
        Whether a token sees none after itself.

    References
    ----------
    Xiong et al. 2020, "On layer normalization in the Transformer architecture", for the final
    norm of pre-LN.
    """

    config: BlockConfig
    params: Params
    num_layers: int
    block: type[EncoderBlock] | type[DecoderBlock] = EncoderBlock
    causal: bool = False

    @classmethod
    def shapes(
        cls,
        config: BlockConfig,
        num_layers: int,
        block: type[EncoderBlock] | type[DecoderBlock] = EncoderBlock,
    ) -> Shapes:
        """Return name -> axes."""
        one, shapes = block.shapes(config), Shapes()
        for i in range(num_layers):
            shapes |= prefixed(f"layers.{i}", one)
        shapes |= SCHEMES[config.relative].stack_shapes(config)
        return shapes | (prefixed("norm", Norm.shapes(config)) if config.norm_first else {})

    @classmethod
    def init(
        cls,
        config: BlockConfig,
        num_layers: int,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
        block: type[EncoderBlock] | type[DecoderBlock] = EncoderBlock,
    ) -> Self:
        """Draw weights; biases start at zero, norms as gamma = 1, beta = 0."""
        shapes = cls.shapes(config, num_layers, block)
        params = draw(shapes, rng, dtype, std=config.initializer_range)
        return cls(config, params, num_layers, block)

    def _block(self, i: int) -> Any:
        return self.block(self.config, part(self.params, f"layers.{i}"))

    @property
    def _norm(self) -> Norm:
        return Norm(self.config, part(self.params, "norm"))

    @property
    def _scheme(self) -> Scheme:
        return SCHEMES[self.config.relative](self.config, self.params)

    def forward(
        self,
        x: FloatArray,
        keep: BoolArray | None = None,
        memory: FloatArray | None = None,
        memory_keep: BoolArray | None = None,
        *,
        past: tuple[Any, ...] | None = None,
        seeds: Sequence[SeedSequence | None] | None = None,
        output_scores: bool = False,
        output_values: bool = False,
        recompute: bool = False,
    ) -> tuple[StackOutput, StackCache]:
        """Apply the layers.

        Parameters
        ----------
        x : ndarray of shape (B, T, D)
        keep : boolean ndarray of shape (B, T), optional
            True = real token.
        memory : ndarray of shape (B, S, D), optional
            What decoder blocks look at; not with a ``past``, which holds its keys and values.
        memory_keep : boolean ndarray of shape (B, S), optional
        past : tuple, optional
            L KV caches, of `no_past` or of an output; the tokens of x come after theirs.
        seeds : sequence of L SeedSequence, optional
            Of each layer's dropout masks; None means no dropout.
        output_scores, output_values : bool
            Keep the scores and the values of every layer.
        recompute : bool
            Keep only what enters each block; backward runs the block's forward again.

        Returns
        -------
        output : StackOutput
        cache : StackCache
        """
        length, first = x.shape[1], past[0].length if past else 0
        shared, shared_cache = self._scheme.shared_forward(
            length, first + length, offset=first, bidirectional=not self.causal
        )
        if self.causal:
            keep = causal_keep(keep, length, first)
        keep = unless_all(expand_keep(keep, len(x), first + length))
        others: tuple[Any, ...] = (keep, shared)
        if self.block is DecoderBlock:
            others = (memory, keep, memory_keep, shared)
        options = {"output_scores": output_scores, "output_values": output_values}
        seeds = [None] * self.num_layers if seeds is None else seeds
        pasts = [None] * self.num_layers if past is None else past
        hidden, outputs, caches = [x], [], []
        for i in range(self.num_layers):
            inputs = BlockInputs(hidden[-1], others, seeds[i], options)
            output, cache = self._block(i).forward(
                inputs.x, *others, past=pasts[i], rng=generator_of(inputs.seed), **options
            )
            hidden.append(output.y)
            outputs.append(output._replace(y=None))
            caches.append(inputs if recompute else cache)
            del output, cache  # or they would still be there while the next block makes its own
        norm = None
        if self.config.norm_first:
            hidden[-1], norm = self._norm.forward(hidden[-1])
        output = StackOutput(
            tuple(hidden),
            tuple(o.scores for o in outputs) if output_scores else None,
            tuple(o.values for o in outputs) if output_values else None,
            tuple(o.cross_scores for o in outputs) if output_scores and len(others) > 2 else None,
            None if past is None else tuple(o.past for o in outputs),
        )
        return output, StackCache(shared_cache, tuple(caches), norm, hidden[-1])

    def backward(
        self, doutput: StackOutput, cache: StackCache, dlast: Maybe = None
    ) -> tuple[tuple[FloatArray, Maybe], Params]:
        """Undo `forward`; a gradient may come in at every hidden state, score and value.

        Parameters
        ----------
        doutput : StackOutput
        cache : StackCache
        dlast : ndarray of shape (B, T, D), optional
            What a head gives back for hidden[L], beside the cotangent that is in ``doutput``.

        Returns
        -------
        dinput : tuple
            dx of shape (B, T, D); dmemory (B, S, D), a sum over the layers, or None.
        grads : dict
            With the keys and shapes of ``params``.

        Raises
        ------
        InputError
            If there is not one cotangent (or None) for each hidden state, score and value.
        """
        L = self.num_layers
        *dhidden, dtop = _entries("hidden", doutput.hidden, L + 1)
        dscores = _entries("scores", doutput.scores, L)
        dvalues = _entries("values", doutput.values, L)
        dcross = _entries("cross_scores", doutput.cross_scores, L)
        g: Params = {}
        given = [d for d in (dtop, dlast) if d is not None]
        dx: FloatArray = sum(given[1:], start=given[0]) if given else np.zeros_like(cache.last)
        if cache.norm is not None:
            dx, grads = self._norm.backward(dx, cache.norm)
            g |= prefixed("norm", grads)
        dmemory: Any = None
        dshared: list[Maybe] = []
        for i in reversed(range(L)):
            block, block_cache = self._block(i), cache.blocks[i]
            if isinstance(block_cache, BlockInputs):
                x, others, seed, options = block_cache
                _, block_cache = block.forward(x, *others, rng=generator_of(seed), **options)
            (dx, *reads, dlayer), grads = block.backward(
                BlockOutput(dx, dscores[i], dvalues[i], dcross[i]), block_cache
            )
            g |= prefixed(f"layers.{i}", grads)
            dshared.append(dlayer)
            for dread in reads:  # of the memory
                dmemory = dread if dmemory is None else dmemory + dread
            below = dhidden[i]
            if below is not None:
                dx = dx + below
        return (dx, dmemory), g | self._scheme.shared_backward(dshared, cache.shared)

    def no_past(self, *inputs: Any) -> tuple[Any, ...]:
        """Return the KV caches of targets that have no token yet; see the blocks' `no_past`."""
        return tuple(self._block(i).no_past(*inputs) for i in range(self.num_layers))


def _entries(name: str, given: Each | None, expected: int) -> Each:
    """Return a cotangent for each of so many outputs, None where silent."""
    if given is None:
        return (None,) * expected
    if len(given) != expected:
        raise InputError(f"{name}: got {len(given)} cotangents, expected {expected}")
    return given
